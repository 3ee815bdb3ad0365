import resource
from contextlib import contextmanager

import pytest
import torch

from sslcli.config.encoder import EncoderConfig
from sslcli.config.pixels import Pixels
from sslcli.errors import CheckpointError, ResourceError, SslError, UsageError
from sslcli.formats import ExportMeta, ImageInput, export_encoder, exporter, safetensors
from sslcli.formats.compare import compare
from sslcli.nn.encoders import build_encoder

INPUTS = ImageInput(Pixels(16, (0.5, 0.4, 0.3), (0.2, 0.2, 0.3)))
META = ExportMeta(EncoderConfig(name="resnet8", width=4), INPUTS)


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return build_encoder(META.encoder, INPUTS.image_size)


@contextmanager
def files_of_at_most(size: int):
    """Refuse to write more, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_probes_are_batches_of_1_3_and_5_in_the_range_of_images():
    batches = [batch for (batch,) in INPUTS.probes()]
    assert [len(batch) for batch in batches] == [1, 3, 5]
    black, white = batches[2][-2:, :, 0, 0]
    torch.testing.assert_close(black, torch.tensor([-0.5 / 0.2, -0.4 / 0.2, -0.3 / 0.3]))
    torch.testing.assert_close(white, torch.tensor([0.5 / 0.2, 0.6 / 0.2, 0.7 / 0.3]))
    assert all(map(torch.equal, batches, [batch for (batch,) in INPUTS.probes()]))


@pytest.mark.parametrize(
    ("copy", "holds"),
    [
        (lambda features: features, True),
        (lambda features: features * 1.00001, True),
        (lambda features: features * 1.001, False),
        (lambda features: features * float("nan"), False),
        (lambda features: features[:, 1:], False),
    ],
)
def test_compare_tells_a_copy_from_another_network(encoder, copy, holds):
    encoder.eval()
    assert compare(encoder, lambda x: copy(encoder(x)), META, 1e-4).holds is holds


def test_the_encoder_and_the_random_numbers_stay_as_they_were(encoder, tmp_path):
    encoder.bfloat16().to(memory_format=torch.channels_last)
    before = torch.get_rng_state()
    export_encoder("safetensors", encoder, META, tmp_path / "new" / "e.safetensors")
    assert torch.equal(torch.get_rng_state(), before)
    assert encoder.training
    assert encoder.conv1.weight.dtype == torch.bfloat16
    assert encoder.conv1.weight.is_contiguous(memory_format=torch.channels_last)


def test_an_existing_file_is_kept_unless_overwrite(encoder, tmp_path):
    path = tmp_path / "e.safetensors"
    path.write_text("mine")
    with pytest.raises(UsageError) as caught:
        export_encoder("safetensors", encoder, META, path)
    assert "`overwrite`" in caught.value.hint
    assert path.read_text() == "mine"
    report = export_encoder("safetensors", encoder, META, path, overwrite=True)
    assert path.stat().st_size == report.bytes > 1000


def test_a_folder_is_never_replaced(encoder, tmp_path):
    with pytest.raises(UsageError, match="exists"):
        export_encoder("safetensors", encoder, META, tmp_path, overwrite=True)


def test_a_copy_that_differs_is_not_kept(encoder, tmp_path, monkeypatch):
    other = build_encoder(META.encoder, INPUTS.image_size).eval()
    monkeypatch.setattr(safetensors, "load", lambda path, meta: other)
    with pytest.raises(SslError, match="other features") as caught:
        export_encoder("safetensors", encoder, META, tmp_path / "e.safetensors")
    assert type(caught.value) is SslError
    assert not list(tmp_path.iterdir())


def test_a_failed_overwrite_keeps_the_old_file(encoder, tmp_path, monkeypatch):
    path = tmp_path / "e.safetensors"
    path.write_text("mine")
    monkeypatch.setattr(safetensors, "load", lambda path, meta: torch.nn.Flatten())
    with pytest.raises(SslError):
        export_encoder("safetensors", encoder, META, path, overwrite=True)
    assert [file.read_text() for file in tmp_path.iterdir()] == ["mine"]


def test_a_converter_that_fails_is_named_and_leaves_nothing(encoder, tmp_path, monkeypatch):
    def fail(encoder, meta):
        raise RuntimeError("operator frobnicate is not supported\nlong story")

    monkeypatch.setattr(safetensors, "serialize", fail)
    with pytest.raises(SslError, match="could not be converted: operator frobnicate") as caught:
        export_encoder("safetensors", encoder, META, tmp_path / "e.safetensors")
    assert "long story" not in caught.value.what
    assert not list(tmp_path.iterdir())


def test_features_that_are_not_finite_are_refused(encoder, tmp_path):
    torch.nn.init.constant_(encoder.bn1.weight, float("inf"))
    with pytest.raises(CheckpointError, match="not finite"):
        export_encoder("safetensors", encoder, META, tmp_path / "e.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("format", ["safetensors", "pt2"])
def test_a_full_disk_leaves_nothing(encoder, tmp_path, format):
    with files_of_at_most(1000), pytest.raises(ResourceError):
        export_encoder(format, encoder, META, tmp_path / "encoder")
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_a_resource_error(encoder, tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(ResourceError):
        export_encoder("safetensors", encoder, META, tmp_path / "file" / "e.safetensors")


def test_unknown_format_lists_the_known(encoder, tmp_path):
    with pytest.raises(UsageError) as caught:
        export_encoder("onyx", encoder, META, tmp_path / "e.onyx")
    assert "safetensors, torchvision, timm, onnx, pt2" in caught.value.hint


def test_a_missing_extra_tells_what_to_install(encoder, tmp_path, monkeypatch):
    monkeypatch.setitem(exporter._EXTRAS, "onnx", ("onnx", "no_such_package"))
    with pytest.raises(UsageError, match="needs no_such_package") as caught:
        export_encoder("onnx", encoder, META, tmp_path / "e.onnx")
    assert caught.value.hint == "pip install 'sslcli[onnx]'"
