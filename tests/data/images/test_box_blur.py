import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter, ImageOps

from sslcli.config.presets import list_presets, resolve
from sslcli.data.images import color
from sslcli.data.images.box_blur import blur_apart, boxes, pillow_blur

SIGMAS = torch.tensor([*np.geomspace(0.05, 2.4, 13), 0.5, 1.0, 1.5, 2.0, 3.0, 6.5, 20.0])
SIZES = [(32, 32), (96, 96), (224, 224), (7, 19), (50, 3), (1, 1)]
OF_PILLOW = ("moco-v2", "moco-v3", "simsiam", "swav", "dino", "supervised")


def noise(count, height, width):
    """Return 8-bit images [N, H, W, 3]; every other one is black and white."""
    pixels = np.random.default_rng(0).integers(0, 256, (count, height, width, 3), dtype=np.uint8)
    pixels[::2] = np.where(pixels[::2] > 127, 255, 0)
    return pixels


def to_tensor(pixels):
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div(255).contiguous()


def blurred_by_pillow(pixels, sigmas):
    pairs = zip(pixels, sigmas.tolist(), strict=True)
    blurred = [Image.fromarray(x).filter(ImageFilter.GaussianBlur(sigma)) for x, sigma in pairs]
    return to_tensor(np.stack([np.asarray(image) for image in blurred]))


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_blur_equals_pillows_to_the_last_bit(height, width):
    pixels = noise(len(SIGMAS), height, width)
    expected = blurred_by_pillow(pixels, SIGMAS)
    assert torch.equal(pillow_blur(to_tensor(pixels), *boxes(SIGMAS)), expected)


def test_blur_for_accelerators_equals_that_for_the_cpu():
    pixels = torch.from_numpy(noise(len(SIGMAS), 20, 33)).permute(0, 3, 1, 2).float().contiguous()
    apart = blur_apart(pixels - 128, *boxes(SIGMAS)) + 128
    assert torch.equal(apart / 255, pillow_blur(pixels / 255, *boxes(SIGMAS)))


def test_colours_between_grey_levels_are_rounded_first():
    pixels = to_tensor(noise(2, 9, 9))
    between = pixels + (torch.rand(pixels.shape) - 0.5) * 0.9 / 255
    box = boxes(torch.tensor([0.7, 1.6]))
    assert torch.equal(pillow_blur(between, *box), pillow_blur(pixels.clone(), *box))


def test_presets_whose_source_blurs_with_pillow_say_so():
    for name in list_presets():
        forms = {view.blur.form for view in resolve(name).config.views if view.blur}
        if name.startswith(OF_PILLOW):
            assert forms <= {"pillow"}, name
            assert forms or not name.endswith("/imagenet"), name


def test_every_preset_solarizes_the_grey_levels_that_pillow_does():
    levels = np.arange(256, dtype=np.uint8)[None]
    theirs = np.asarray(ImageOps.solarize(Image.fromarray(levels)))  # 128 and above
    for name in list_presets():
        for view in resolve(name).config.views:
            if view.solarize:
                ours = color.solarize(view.solarize.threshold, torch.from_numpy(levels) / 255)
                assert np.array_equal((ours * 255).round().numpy(), theirs), name
