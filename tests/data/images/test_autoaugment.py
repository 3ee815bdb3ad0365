"""AutoAugment against torchvision's on 8-bit images, and against the other source's arithmetic."""

import pytest
import torch
from torchvision.transforms import AutoAugment
from torchvision.transforms import functional as reference
from torchvision.transforms.autoaugment import _apply_op

from sslcli.config.pixels import Pixels
from sslcli.config.views import ViewConfig
from sslcli.data.images.autoaugment import KINDS, autoaugment, draw_operations
from sslcli.data.images.draws import Samples, draw
from sslcli.data.images.policies import POLICIES
from sslcli.data.images.views import Views

SIZE = 33
# Every pair with both operations and with the first alone; the signs are + and -.
FORCED = torch.tensor(
    [
        [(which + 0.5) / 25, 0.001, second, 0.1, 0.9]
        for which in range(25)
        for second in (0.001, 0.999)
    ]
)


def photos(count):
    """Smooth 8-bit pictures with noise, each of a range of its own."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 3, 4, 4, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (SIZE, SIZE), mode="bicubic")
    noisy = 0.2 + 0.5 * smooth + 0.05 * torch.randn(count, 3, SIZE, SIZE, generator=generator)
    return (255 * noisy).clamp(0, 255).to(torch.uint8)


def ours(images, operations):
    made = autoaugment(images.float() / 255, operations)
    return (255 * made).round().to(torch.uint8)


def agree(a, b):
    """Say whether grey levels differ by one at most, but for pixels between two neighbours."""
    return ((a.int() - b.int()).abs() > 1).float().mean() < 5e-3


def test_every_pair_of_the_imagenet_policy_equals_torchvision(monkeypatch):
    policy = AutoAugment()
    images, operations = photos(len(FORCED)), draw_operations("imagenet", FORCED)
    for image, made, numbers in zip(images, ours(images, operations), FORCED, strict=True):
        which, signs = int(numbers[0] * 25), (numbers[3:] >= 0.5).int()
        monkeypatch.setattr(policy, "get_params", lambda _: (which, numbers[1:3], signs))  # noqa: B023
        assert agree(made, policy(image)), policy.policies[which]


def v0(image, kind, value):
    """Do one operation of TensorFlow's models with torchvision's functions."""
    if kind in ("invert", "equalize", "autocontrast"):
        return getattr(reference, kind)(image)
    if kind == "solarize-add":
        return torch.where(image < 128, (image.int() + int(value)).clamp(0, 255).byte(), image)
    if kind == "color":
        return reference.adjust_saturation(image, value)
    if kind == "posterize":
        return image // 2 ** (8 - int(value)) * 2 ** (8 - int(value))
    if kind == "solarize":
        return torch.where(image >= value, 255 - image, image)
    name = {"rotate": "Rotate", "shear-x": "ShearX", "shear-y": "ShearY"}
    mode, fill = reference.InterpolationMode.NEAREST, [128.0] * 3
    if kind == "translate-y":
        return reference.affine(image, 0.0, [0, int(value)], 1.0, [0.0, 0.0], mode, fill)
    return _apply_op(image, name[kind], value, mode, fill)


def test_every_pair_of_tensorflows_policy_equals_its_operations_in_turn():
    images, operations = photos(len(FORCED)), draw_operations("v0", FORCED)
    made = ours(images, operations)
    for n, image in enumerate(images):
        for kind, value in zip(operations.kind[n], operations.argument[n].tolist(), strict=True):
            image = v0(image, KINDS[kind], value) if kind else image
        assert agree(made[n], image), operations.kind[n]


def test_levels_mean_what_tensorflows_models_say():
    pairs = POLICIES["v0"].pairs
    values = {(one.kind, round(one.amount, 3)) for pair in pairs for one in pair}
    assert {("posterize", 2), ("posterize", 1), ("solarize", 76), ("solarize", 256)} <= values
    assert {("rotate", 27), ("shear-y", 0.12), ("translate-y", 225), ("color", 1.72)} <= values
    assert {("solarize-add", 33), ("solarize-add", 77)} <= values


@pytest.mark.parametrize("policy", POLICIES)
def test_pairs_operations_and_signs_have_their_frequencies(policy):
    config = ViewConfig(count=1, size=8, crop_scale=(1, 1), autoaugment=policy,
                        order=("crop", "autoaugment"))  # fmt: skip
    rows = torch.arange(40_000)
    numbers = draw(config, Samples(0, 0, rows, torch.zeros_like(rows)).numbers()).policy
    found = draw_operations(policy, numbers)
    for slot in range(2):
        for kind in range(1, len(KINDS)):
            expected = sum(
                pair[slot].probability for pair in POLICIES[policy].pairs
                if pair[slot].kind == KINDS[kind]
            ) / 25  # fmt: skip
            share = (found.kind[:, slot] == kind).float().mean().item()
            assert share == pytest.approx(expected, abs=0.012)
    turned = found.argument[(found.kind == KINDS.index("rotate")) & (found.argument != 0)]
    assert (turned > 0).float().mean().item() == pytest.approx(0.5, abs=0.02)


def test_a_view_depends_on_seed_epoch_row_and_view_and_not_on_its_batch():
    config = ViewConfig(count=2, size=SIZE, crop_scale=(0.2, 1.0), flip=0.5, autoaugment="v0",
                        order=("crop", "flip", "autoaugment"))  # fmt: skip
    views, pixels, rows = (
        Views([config], Pixels(32, (0.5,) * 3, (0.5,) * 3), seed=0),
        photos(16),
        torch.arange(16),
    )
    first, second = views(pixels, rows, 0)
    part = views(pixels[9:12], rows[9:12], 0)
    assert torch.equal(first[9:12], part[0])
    assert torch.equal(second[9:12], part[1])
    for other in (second, views(pixels, rows, 1)[0], views(pixels, rows + 99, 0)[0]):
        assert (first - other).abs().mean() > 0.1
