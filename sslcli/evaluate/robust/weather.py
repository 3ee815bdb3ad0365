"""Weather of CIFAR-10-C (Hendrycks & Dietterich 2019, arXiv:1903.12261); frost needs their photos.

Images are [B, 3, H, W] float32 in [0, 1]; results are cut by the caller.
"""

import torch
from torch import Tensor

from sslcli.evaluate.robust.blur import streaked, zoomed
from sslcli.evaluate.robust.draws import Draws


def fog(images: Tensor, density: tuple[float, float], draws: Draws) -> Tensor:
    """Add a cloud of some weight whose roughness falls by a factor each octave."""
    weight, decay = density
    height, width = images.shape[2:]
    brightest = images.amax(dim=(1, 2, 3), keepdim=True)
    cloud = plasma(max(height, width), decay, draws)[:, None, :height, :width]
    return (images + weight * cloud) * brightest / (brightest + weight)


def plasma(side: int, decay: float, draws: Draws) -> Tensor:
    """Return clouds by the diamond-square algorithm, [B, S, S] in [0, 1], S a power of 2."""
    size = 1 << (side - 1).bit_length()
    plane = torch.zeros(len(draws.rows), size, size, device=draws.rows.device)
    step, wobble = size, 100.0
    while step >= 2:
        half, count = step // 2, size // step
        shake = (2 * draws.uniform(step, 3, count, count) - 1) * wobble**2  # [B, 3, n, n]
        corners = plane[:, ::step, ::step]
        across = corners + corners.roll(-1, 1)
        middles = (across + across.roll(-1, 2)) / 4 + shake[:, 0]
        plane[:, half::step, half::step] = middles
        beside = (middles + middles.roll(1, 1) + corners + corners.roll(-1, 2)) / 4
        plane[:, ::step, half::step] = beside + shake[:, 1]
        below = (middles + middles.roll(1, 2) + corners + corners.roll(-1, 1)) / 4
        plane[:, half::step, ::step] = below + shake[:, 2]
        step, wobble = half, wobble / decay
    plane = plane - plane.amin(dim=(1, 2), keepdim=True)
    return plane / plane.amax(dim=(1, 2), keepdim=True)


def snow(
    images: Tensor, fall: tuple[float, float, float, float, int, float, float], draws: Draws
) -> Tensor:
    """Whiten the image and let flakes fall: mean, deviation, size, threshold, streak, whitening."""
    mean, deviation, size, threshold, radius, sigma, keep = fall
    flakes = zoomed(mean + deviation * draws.normal(0, 1, *images.shape[2:]), size)
    flakes = torch.where(flakes < threshold, 0.0, flakes).clamp(0, 1).mul(255).floor() / 255
    flakes = streaked(flakes, (radius, sigma), draws.uniform(1, 1)[:, 0] * 90 - 135)
    red, green, blue = images.split(1, dim=1)
    gray = 0.299 * red + 0.587 * green + 0.114 * blue
    white = keep * images + (1 - keep) * torch.maximum(images, gray * 1.5 + 0.5)
    return white + flakes + flakes.flip(2, 3)


def brightness(images: Tensor, shift: float, draws: Draws) -> Tensor:
    """Raise the value of HSV, which scales the channels alike; draws nothing."""
    value = images.amax(dim=1, keepdim=True)
    raised = (value + shift).clamp(max=1)
    return torch.where(value > 0, images * (raised / value.clamp(min=1e-6)), raised)
