"""Features of a data set as arrays or a file, and of images at hand."""

import numpy as np
import pytest
import torch
from PIL import Image

import sslcli
from sslcli.data.sources.given import GivenImages
from sslcli.errors import DataError, UsageError


@pytest.fixture(scope="module")
def run(encoder_run):
    return sslcli.load(encoder_run, device="cpu", precision="fp32")


@pytest.fixture(scope="module")
def expected(run, pictures, tmp_path_factory):
    """Return what `embed` makes of the pictures."""
    out = tmp_path_factory.mktemp("out") / "f.npz"
    return sslcli.embed(run, data=str(pictures), out=out)


def test_the_file_holds_the_arrays_that_are_returned(expected):
    with np.load(expected.path) as kept:
        assert set(kept) == {"features", "rows", "files"}
        for name, array in expected.arrays().items():
            np.testing.assert_array_equal(kept[name], array)


def test_nothing_is_written_without_a_name(run, pictures, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = sslcli.embed(run, data=str(pictures), out=None)
    np.testing.assert_array_equal(found.features, expected.features)
    assert found.path is None
    assert not list(tmp_path.iterdir())


def test_files_at_hand_give_the_same_features_to_the_last_bit(run, pictures, expected):
    paths = sorted(pictures.iterdir())
    for images in (paths, list(map(str, paths)), list(map(Image.open, paths))):
        found = run.embed(images)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, expected.features)


def test_arrays_give_the_features_of_their_files(run, pictures, expected):
    with Image.open(pictures / "0.png") as image:
        array = np.array(image)
    both = run.embed(np.stack([array, array[:, ::-1]]))
    np.testing.assert_allclose(both[0], expected.features[0], rtol=1e-5, atol=1e-6)
    assert not np.allclose(both[0], both[1])
    for one in (array, pictures / "0.png", Image.fromarray(array)):
        np.testing.assert_allclose(run.embed(one), both[:1], rtol=1e-5, atol=1e-6)


def test_images_of_the_built_in_data_embed_as_in_an_evaluation(run):
    source = run.splits.test
    images = [source.load(row) for row in range(len(source))]
    np.testing.assert_array_equal(run.embed(images), run.features(source).features.numpy())


@pytest.mark.parametrize(
    ("image", "what"),
    [
        (np.zeros((8, 8, 3)), "an array of float64, [8, 8, 3]"),
        (np.zeros((8, 8), np.uint8), "an array of uint8, [8, 8]"),
        (np.zeros((3, 8, 8), np.uint8), "an array of uint8, [3, 8, 8]"),
        (np.zeros((0, 8, 3), np.uint8), "an array of uint8, [0, 8, 3]"),
    ],
)
def test_an_array_that_is_no_image_is_refused_with_its_place(run, pictures, image, what):
    with pytest.raises(UsageError) as caught:
        run.embed([pictures / "0.png", image])
    assert what in caught.value.what
    assert caught.value.where == "images[1]"
    assert "uint8 arrays [height, width, 3]" in caught.value.hint


@pytest.mark.parametrize(
    ("images", "what", "where"),
    [
        ([], "there is no image", "images"),
        (3, "int is no image", "images"),
        ([None], "NoneType is no image", "images[0]"),
        (torch.zeros(3, 8, 8), "Tensor is no image", "images[0]"),
    ],
)
def test_what_is_no_image_at_all_is_refused(images, what, where):
    with pytest.raises(UsageError) as caught:
        GivenImages(images)
    assert (caught.value.what, caught.value.where) == (what, where)


def test_a_single_unreadable_file_among_many_is_refused(run, pictures, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no image")
    for bad in (tmp_path / "bad.png", tmp_path / "missing.png"):
        with pytest.raises(DataError) as caught:
            run.embed([pictures / "0.png"] * 30 + [bad])
        assert str(bad) in caught.value.where


def test_the_encoder_is_a_module_in_evaluation_mode_with_its_width(run):
    features = run.encoder(torch.zeros(2, 3, 12, 12))
    assert not run.encoder.training
    assert features.shape == (2, run.encoder.feature_dim)


def test_what_is_given_to_an_open_run_changes_only_that(run, pictures):
    changed = sslcli.load(run, data=str(pictures), overrides={"data.holdout": 0.5})
    again = sslcli.load(changed, seed=3)
    assert (again.config.data, again.config.seed) == (changed.config.data, 3)
    assert sslcli.load(again) is again
    assert run.config.data.source == "digits"
