"""What each patch goes through by itself, against Pillow and by its draws."""

import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from pydantic import ValidationError
from torchvision.transforms.functional import pil_to_tensor, to_pil_image

from sslcli.config.views import PatchConfig
from sslcli.data.images import patch_operations
from sslcli.data.images.patch_operations import change_patches

SIDE = 12
KINDS = ["shear-x", "shear-y", "translate-x", "translate-y", "rotate", "autocontrast", "invert"]
KINDS += ["equalize", "solarize", "posterize", "contrast", "color", "brightness", "sharpness"]
KINDS += ["cutout", "pair"]


def patches(count=8):
    generator = torch.Generator().manual_seed(0)
    levels = torch.randint(0, 256, (count, 3, SIDE, SIDE), generator=generator)
    return levels.float() / 255


def changed(numbers, *, order=None, **config):
    """Return 8 patches, two images of 2 by 2, after the operations that the numbers draw."""
    originals = patches()
    order = torch.arange(8) if order is None else order
    found = originals[order].clone()
    change_patches(found, originals, order, numbers, PatchConfig(grid=2, side=SIDE, **config))
    return found


def drawn(kind, amount=0.5, place=0.5):
    """Return the numbers that draw one operation for all patches."""
    numbers = torch.rand(8, 43, generator=torch.Generator().manual_seed(1))
    numbers[:, 4], numbers[:, 5] = (KINDS.index(kind) + 0.5) / 16, amount
    numbers[:, 6:8] = place
    return numbers


def grey_levels(images):
    return (images * 255).round()


PILLOW = {
    "shear-x": (0.75, lambda i: i.transform(i.size, Image.Transform.AFFINE, (1, 0.15, 0, 0, 1, 0))),
    "shear-y": (0.75, lambda i: i.transform(i.size, Image.Transform.AFFINE, (1, 0, 0, 0.15, 1, 0))),
    "rotate": (0.75, lambda i: i.rotate(15)),
    "autocontrast": (0.5, ImageOps.autocontrast),
    "invert": (0.5, ImageOps.invert),
    "equalize": (0.5, ImageOps.equalize),
    "solarize": (0.4, lambda i: ImageOps.solarize(i, 102)),
    "posterize": (0.3, lambda i: ImageOps.posterize(i, 5)),
    "contrast": (0.75, lambda i: ImageEnhance.Contrast(i).enhance(1.45)),
    "color": (0.75, lambda i: ImageEnhance.Color(i).enhance(1.45)),
    "brightness": (0.25, lambda i: ImageEnhance.Brightness(i).enhance(0.55)),
    "sharpness": (0.75, lambda i: ImageEnhance.Sharpness(i).enhance(1.45)),
}


@pytest.mark.parametrize("kind", PILLOW)
def test_operations_are_pillows(kind):
    amount, reference = PILLOW[kind]
    found = grey_levels(changed(drawn(kind, amount), operations=1))
    for ours, patch in zip(found, patches(), strict=True):
        theirs = pil_to_tensor(reference(to_pil_image((patch * 255).round().to(torch.uint8))))
        close = (ours - theirs).abs() <= 1
        assert close.float().mean() > 0.97, kind  # a turn's nearest pixel may be a tie


@pytest.mark.parametrize(("amount", "pixels"), [(0.0, -4), (0.5, 0), (0.999, 4)])
def test_shifts_reach_a_third_either_way_over_black(amount, pixels):
    across = changed(drawn("translate-x", amount), operations=1)
    down = changed(drawn("translate-y", amount), operations=1)
    moved = patches().roll(pixels, 3)
    if pixels:
        moved[..., slice(0, pixels) if pixels > 0 else slice(pixels, None)] = 0
    torch.testing.assert_close(across, moved)
    assert (down.mean((1, 2, 3)) < patches().mean((1, 2, 3))).all() == bool(pixels)


@pytest.mark.parametrize(("amount", "side"), [(0.0, 1), (0.999, 4)])
def test_cutout_paints_a_square_of_medium_grey(amount, side):
    found = changed(drawn("cutout", amount, place=0.999), operations=1)
    expected = patches()
    expected[..., SIDE - side :, SIDE - side :] = 0.5
    torch.testing.assert_close(found, expected)


def test_pairs_add_another_patch_of_the_same_image_whatever_the_order():
    order = torch.tensor([5, 0, 7, 2, 1, 6, 3, 4])
    found = changed(drawn("pair", 0.5, place=0.3), order=order, operations=1)
    originals = patches()
    others = originals[order // 4 * 4 + 1]  # 0.3 of four is the second
    torch.testing.assert_close(found, (originals[order] + 0.2 * others).clamp(max=1))


def test_each_operation_is_equally_likely_and_none_is_left_out():
    assert len(patch_operations._OPERATIONS) + 2 == len(KINDS) == 16
    numbers = torch.rand(8, 43)
    twice = changed(numbers, operations=2)
    once = changed(numbers, operations=1)
    assert not torch.equal(once, twice)
    assert torch.equal(changed(numbers), patches())


def test_a_part_of_a_patch_is_put_into_its_middle_on_black():
    numbers = torch.rand(8, 43)
    numbers[:, 0], numbers[:, 1] = 0.999, 0.0  # from the lowest row and the first column
    found = changed(numbers, part=8)
    expected = torch.zeros_like(found)
    expected[:, :, 2:10, 2:10] = patches()[:, :, 4:12, 0:8]
    assert torch.equal(found, expected)


def test_patches_are_mirrored_by_their_own_draws():
    numbers = torch.rand(8, 43)
    found, is_mirrored = changed(numbers, flip=0.5), numbers[:, 2] < 0.5
    expected = torch.where(is_mirrored[:, None, None, None], patches().flip(3), patches())
    assert torch.equal(found, expected)
    assert 0 < is_mirrored.sum() < 8


def test_a_part_larger_than_the_patch_is_refused():
    with pytest.raises(ValidationError, match=r"at most patches\.side"):
        PatchConfig(grid=2, side=8, part=9)
