import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as reference

from sslcli.config.views import ViewConfig
from sslcli.data.images.crop import cut, resized_crop, shifted
from sslcli.data.images.draws import draw_boxes

TOLERANCE = 1e-5  # of images in [0, 1], against float antialiased resampling


def image(height, width, seed=0):
    torch.manual_seed(seed)
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize(
    ("box", "size"),
    [((3, 5, 20, 17), 32), ((0, 0, 40, 48), 16), ((10, 0, 30, 9), 24), ((39, 47, 1, 1), 8)],
)
def test_crop_equals_torchvision(flip, box, size):
    pixels = image(40, 48)
    ours = resized_crop(pixels[None], torch.tensor([box]), torch.tensor([flip]), size, "bilinear")
    ours, mode = ours[0], InterpolationMode.BILINEAR
    theirs = reference.resized_crop(pixels.double() / 255, *box, [size, size], mode, antialias=True)
    theirs = theirs.float()
    theirs = reference.horizontal_flip(theirs) if flip else theirs
    torch.testing.assert_close(ours, theirs, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("levels", [[0, 255], range(256)])  # black and white overshoot most
def test_crop_of_any_box_is_within_two_grey_levels_of_pillow(interpolation, levels):
    generator = np.random.default_rng(0)
    pixels = generator.choice(np.array(levels, dtype=np.uint8), (61, 47, 3))
    picture, tensor = Image.fromarray(pixels), torch.from_numpy(pixels).permute(2, 0, 1)
    mode = Image.Resampling[interpolation.upper()]
    for _ in range(40):
        (top, bottom), (left, right) = (sorted(generator.choice(n, 2, False)) for n in (62, 48))
        tall, wide, size = bottom - top, right - left, int(generator.integers(3, 50))
        box = torch.tensor([[top, left, tall, wide]])
        ours = resized_crop(tensor[None], box, torch.tensor([False]), size, interpolation)[0]
        region = picture.crop((left, top, right, bottom))
        theirs = region.resize((size, tall), mode).resize((size, size), mode)
        theirs = torch.from_numpy(np.array(theirs)).permute(2, 0, 1)
        torch.testing.assert_close(ours * 255, theirs.float(), atol=1.5, rtol=0)


def test_shifts_equal_torchvisions_crop_of_the_image_padded_by_reflection():
    shift = torch.cartesian_prod(torch.arange(-4, 5), torch.arange(-4, 5))
    pixels, flip = torch.rand(81, 3, 12, 12), torch.arange(81) % 2 == 0
    mirrored = torch.where(flip[:, None, None, None], pixels.flip(-1), pixels)
    ours = shifted(mirrored, shift, flip)
    for n, (down, right) in enumerate(shift.tolist()):
        padded = reference.pad(pixels[n], [4], padding_mode="reflect")
        theirs = reference.crop(padded, 4 + down, 4 + right, 12, 12)
        assert torch.equal(ours[n], theirs.flip(-1) if flip[n] else theirs)


def test_each_sample_has_its_own_box():
    pixels = torch.stack([image(32, 32, seed) for seed in range(3)])
    boxes = torch.tensor([[0, 0, 32, 32], [4, 9, 12, 20], [31, 0, 1, 32]])
    flip = torch.tensor([False, True, False])
    together = resized_crop(pixels, boxes, flip, 32, "bilinear")
    alone = [
        resized_crop(pixels[n : n + 1], boxes[n : n + 1], flip[n : n + 1], 32, "bilinear")
        for n in range(3)
    ]
    assert torch.equal(together, torch.cat(alone))
    torch.testing.assert_close(together[0], pixels[0] / 255)  # the whole image, unchanged


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_cut_equals_pillow_within_a_grey_level(interpolation):
    pixels = image(60, 70).permute(1, 2, 0).contiguous().numpy()
    pixels.setflags(write=False)  # as Pillow hands them out
    top, left, tall, wide = 7, 11, 50, 41
    ours = cut(pixels, (top, left, tall, wide), 24, interpolation)
    region = Image.fromarray(pixels).crop((left, top, left + wide, top + tall))
    theirs = region.resize((24, 24), Image.Resampling[interpolation.upper()])
    assert ours.dtype == np.uint8
    assert np.abs(ours.astype(int) - np.asarray(theirs).astype(int)).max() <= 1


def square(size, **fields):
    whole = {"count": 1, "crop_scale": (1, 1), "crop_ratio": (1, 1)}
    return ViewConfig(**whole, size=size, **fields)


def test_a_random_crop_is_a_square_of_the_resized_image():
    """Of 300 pixels 256: 85.3 % of the shorter side, anywhere in the longer one, too."""
    config = square(256, resize=300)
    boxes = draw_boxes(config, torch.rand(500, 43), 375, 600)
    top, left, tall, wide = boxes.unbind(1)
    assert set(tall.tolist()) == set(wide.tolist()) == {320}
    assert (top.min(), top.max()) == (0, 55)
    assert 0 <= left.min() < 20
    assert 260 < left.max() <= 280


def test_a_random_crop_with_a_border_equals_torchvisions_on_black():
    config = square(30, resize=32, pad=2)
    pixels = torch.stack([image(32, 32, seed) for seed in range(64)])
    boxes = draw_boxes(config, torch.rand(64, 43), 32, 32)
    assert (boxes[:, :2].min(), boxes[:, :2].max()) == (-2, 4)
    ours = resized_crop(pixels, boxes, torch.zeros(64, dtype=torch.bool), 30, "bilinear")
    for n, (top, left, *_) in enumerate(boxes.tolist()):
        padded = reference.pad(pixels[n], [2])
        theirs = reference.crop(padded, top + 2, left + 2, 30, 30)
        torch.testing.assert_close(ours[n], theirs / 255)
        one = cut(pixels[n].permute(1, 2, 0).numpy(), boxes[n].tolist(), 30, "bilinear")
        assert torch.equal(torch.from_numpy(one).permute(2, 0, 1), theirs)


@pytest.mark.parametrize("fields", [{"crop_scale": (0.5, 1)}, {"resize": 20}])
def test_a_random_crop_that_cannot_be_is_refused(fields):
    with pytest.raises(ValidationError, match="resize"):
        ViewConfig(**({"count": 1, "size": 24, "crop_scale": (1, 1), "crop_ratio": (1, 1),
                       "resize": 32} | fields))  # fmt: skip
