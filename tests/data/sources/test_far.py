import pickle
import re

import numpy as np
import pytest
import torch

from sslcli.cli.ood_detect import ood_detect
from sslcli.config.data import DataConfig
from sslcli.data.evaluation import eval_batches
from sslcli.data.sources.far import KINDS, MOST, PSEUDO_OUTLIERS, FarSource
from sslcli.data.sources.open import ArraySource

DATA = DataConfig(image_size=16, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25), workers=0)
ALL = (*KINDS, PSEUDO_OUTLIERS)


@pytest.fixture
def base() -> ArraySource:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 3, 16, 16), dtype=np.uint8)
    return ArraySource("base", pixels)


@pytest.mark.parametrize("kind", ALL)
def test_images_follow_kind_seed_and_row(base: ArraySource, kind: str):
    far, again, other = (FarSource(kind, base, DATA.pixels, seed) for seed in (0, 0, 1))
    image = far.load(3)
    assert (image.shape, image.dtype) == ((16, 16, 3), np.uint8)
    assert (image == again.load(3)).all()
    assert (image == pickle.loads(pickle.dumps(far)).load(3)).all()
    assert (image != other.load(3)).any()
    assert (image != far.load(4)).any()
    assert far.fingerprint == again.fingerprint != other.fingerprint


def test_kinds_have_fingerprints_of_their_own(base: ArraySource):
    assert len({FarSource(kind, base, DATA.pixels, 0).fingerprint for kind in ALL}) == len(ALL)


def test_noise_is_distributed_as_said(base: ArraySource):
    def values(kind):
        far = FarSource(kind, base, DATA.pixels, 0)
        return np.stack([far.load(row) for row in range(40)]) / 255

    uniform, normal = values("uniform-noise"), values("gaussian-noise")
    assert uniform.mean() == pytest.approx(0.5, abs=0.01)
    assert uniform.std() == pytest.approx(12**-0.5, abs=0.01)
    assert normal.mean() == pytest.approx(0.5, abs=0.01)
    assert normal.std() == pytest.approx(0.24, abs=0.01)  # 0.25 before it is cut to [0, 1]
    assert (normal == 0).mean() == pytest.approx(0.0228, abs=0.006)  # two deviations below


def test_constants_and_blurred_noise_are_smooth(base: ArraySource):
    flat = FarSource("constant", base, DATA.pixels, 0).load(0)
    assert (flat == flat[0, 0]).all()
    smooth = FarSource("blurred-noise", base, DATA.pixels, 0).load(0).astype(int)
    rough = FarSource("uniform-noise", base, DATA.pixels, 0).load(0).astype(int)
    assert (smooth.min(), smooth.max()) == (0, 255)
    assert 2 * np.abs(np.diff(smooth, axis=0)).mean() < np.abs(np.diff(rough, axis=0)).mean()


def test_interpolations_are_means_of_two_different_images(base: ArraySource):
    far = FarSource("interpolation", base, DATA.pixels, 0)
    partners = [far.partner(row) for row in range(40)]
    assert sorted(partners) == list(range(40))
    assert all(row != partner for row, partner in enumerate(partners))
    mean = (base.load(5).astype(int) + base.load(partners[5])) / 2
    assert np.abs(far.load(5) - mean).max() <= 0.5


def test_permuted_pixels_keep_their_colours_but_not_their_places(base: ArraySource):
    far, original = FarSource("permuted-pixels", base, DATA.pixels, 0).load(2), base.load(2)
    assert (far != original).any()
    colours = [sorted(map(tuple, image.reshape(-1, 3).tolist())) for image in (far, original)]
    assert colours[0] == colours[1]


def test_jigsaws_move_whole_tiles(base: ArraySource):
    def tiles(image):
        return [
            image[r : r + 4, c : c + 4].tobytes() for r in range(0, 16, 4) for c in range(0, 16, 4)
        ]

    far, original = FarSource(PSEUDO_OUTLIERS, base, DATA.pixels, 0).load(2), base.load(2)
    assert tiles(far) != tiles(original)
    assert sorted(tiles(far)) == sorted(tiles(original))


def test_images_have_the_size_before_the_central_crop(base: ArraySource):
    data = DATA.model_copy(update={"image_size": 12, "resize": 14})
    for kind in ALL:
        assert FarSource(kind, base, data.pixels, 0).load(0).shape == (14, 14, 3)


def test_evaluation_reads_them_without_resizing(base: ArraySource):
    data = DATA.model_copy(update={"image_size": 12, "resize": 14})
    far = FarSource("uniform-noise", base, data.pixels, 0)
    ((images, rows),) = eval_batches(far, data, 64, "cpu")
    expected = torch.from_numpy(far.load(7))[1:13, 1:13].permute(2, 0, 1) / 255
    torch.testing.assert_close(images[7] * 0.25 + 0.5, expected)
    assert rows.tolist() == list(range(40))


def test_a_far_set_is_as_large_as_its_base_up_to_a_limit():
    pixels = np.zeros((MOST + 5, 3, 1, 1), dtype=np.uint8)
    assert len(FarSource("constant", ArraySource("many", pixels), DATA.pixels, 0)) == MOST


def test_the_help_names_every_far_set():
    ood = ood_detect.__annotations__["ood"].__metadata__[0].help
    assert all(re.search(rf"\b{kind}\b", ood) for kind in KINDS)
