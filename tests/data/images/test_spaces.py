"""Lab and YCbCr against scikit-image's numbers, and where views and evaluation convert."""

import pytest
import torch

from sslcli.config.data import DataConfig
from sslcli.config.pixels import FITTING, Pixels
from sslcli.config.presets import resolve
from sslcli.config.views import ViewConfig
from sslcli.data.evaluation import eval_batches
from sslcli.data.images.color import lab_to_rgb, rgb_to_lab, to_rgb, to_space
from sslcli.data.images.views import Views
from sslcli.data.sources.base import ArraySource
from sslcli.errors import ConfigError

# scikit-image 0.26.0: color.rgb2lab and color.rgb2ycbcr of uint8 colours.
COLOURS = [[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255], [3, 7, 10],
           [12, 200, 99], [128, 128, 128], [250, 128, 7]]  # fmt: skip
LAB = [[0.0, 0.0, 0.0], [100.0, -0.002455, 0.004653], [53.240588, 80.092308, 67.202751],
       [87.735099, -86.18303, 83.179703], [32.295673, 79.185591, -107.8573],
       [1.74534, -0.628988, -1.503594], [71.0669, -63.458226, 38.850321],
       [53.585013, -0.001473, 0.002791], [66.354242, 40.934752, 72.217127]]  # fmt: skip
YCBCR = [[16.0, 128.0, 128.0], [235.0, 128.0, 128.0], [81.481, 90.203, 240.0],
         [144.553, 53.797, 34.214], [40.966, 240.0, 109.786], [21.278329, 129.910541, 126.028855],
         [129.600024, 111.505239, 52.641624], [125.929412, 128.0, 128.0],
         [145.410965, 56.771631, 190.227035]]  # fmt: skip
VIEW = ViewConfig(count=1, size=6, crop_scale=(1, 1), crop_ratio=(1, 1))


def image(values):
    """Return colours as an image of one row, [1, 3, 1, N]."""
    return torch.tensor(values).float().T[None, :, None, :]


def pixels(space, size=6):
    mean, std = FITTING[space]
    return Pixels(size, mean, std, space=space)


def photos():
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, (4, 3, 6, 6), generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize(("space", "expected"), [("lab", LAB), ("ycbcr", YCBCR)])
def test_a_space_is_scikit_images(space, expected):
    found = to_space(image(COLOURS) / 255, space)
    assert found.dtype == torch.float32
    assert (found - image(expected)).abs().max() < 1e-4


def test_lab_is_a_new_tensor_of_the_same_batch():
    images = photos() / 255
    before = images.clone()
    found = rgb_to_lab(images)
    assert torch.equal(images, before)
    assert found.shape == images.shape
    torch.testing.assert_close(found[2:3], rgb_to_lab(images[2:3]))


@pytest.mark.parametrize("space", ["rgb", "lab", "ycbcr"])
def test_a_space_leads_back_to_the_image(space):
    images = photos() / 255
    torch.testing.assert_close(to_rgb(to_space(images, space), space), images, atol=2e-5, rtol=0)


def test_colours_that_no_screen_shows_are_clipped():
    assert lab_to_rgb(image([[100.0, 90.0, -100.0]])).max() <= 1


@pytest.mark.parametrize("space", ["lab", "ycbcr"])
def test_the_slope_is_finite_at_black_and_white(space):
    leaf = (image(COLOURS) / 255).requires_grad_()
    to_space(leaf, space).square().sum().backward()
    assert leaf.grad.isfinite().all()


def test_views_crop_flip_and_colour_before_they_convert():
    config = VIEW.model_copy(update={"flip": 0.5, "grayscale": 0.5, "crop_scale": (0.3, 1.0)})
    rows = torch.arange(4)
    plain = Views([config], Pixels(6, (0.0,) * 3, (1.0,) * 3), 3)(photos(), rows, 0)[0]
    shown = Views([config], pixels("lab"), 3)(photos(), rows, 0)[0]
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in FITTING["lab"])
    torch.testing.assert_close(shown, (rgb_to_lab(plain) - mean) / std)


@pytest.mark.parametrize("space", ["lab", "ycbcr"])
def test_evaluation_sees_what_a_view_without_changes_shows(space):
    mean, std = FITTING[space]
    data = DataConfig(image_size=6, space=space, mean=mean, std=std, workers=0)
    source = ArraySource("photos", photos().numpy())
    ((found, rows),) = eval_batches(source, data, 8, "cpu")
    (view,) = Views([VIEW], data.pixels, 0)(photos(), rows, 0)
    torch.testing.assert_close(found, view, atol=1e-5, rtol=1e-5)
    assert found.abs().max() < 3


@pytest.mark.parametrize(
    ("space", "std"), [("lab", "rgb"), ("ycbcr", "lab"), ("lab", "ycbcr"), ("rgb", "lab")]
)
def test_a_deviation_in_the_units_of_another_space_is_refused(space, std):
    mean, std = FITTING[std]
    fitting = FITTING[space][1][0]
    with pytest.raises(ValueError, match=f"units of {space}.*std = .{fitting}"):
        DataConfig(image_size=6, space=space, mean=mean, std=std)


def test_lab_never_stays_in_the_unit_range():
    ones = Pixels(6, (0.0,) * 3, (1.0,) * 3)
    assert ones.keeps_unit_range
    assert not Pixels(6, (0.0,) * 3, (1.0,) * 3, space="lab").keeps_unit_range


def test_exemplar_s_colours_are_not_about_a_mean_of_another_space():
    change = {"data.space": "lab", "data.mean": FITTING["lab"][0], "data.std": FITTING["lab"][1]}
    with pytest.raises(ConfigError, match="exemplar changes colours"):
        resolve("exemplar-cnn/digits", None, change)
