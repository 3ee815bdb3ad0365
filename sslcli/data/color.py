"""Colour operations on a batch, each sample with its own parameters.

Images are planes, [3, N, H, W] float32 in [0, 1], so that every step runs over contiguous memory.
Kernels change `planes` in place and return it. Each equals torchvision's function on
float images, sample by sample, to 1e-5.
"""

from collections.abc import Callable

import torch
from torch import Tensor

Kernel = Callable[..., Tensor]


def apply_where(active: Tensor, kernel: Kernel, planes: Tensor, *parameters: Tensor) -> None:
    """Run an in-place kernel on the samples for which `active` holds, [N] bool.

    On the CPU the others cost nothing; elsewhere asking which they are would stall the device, so
    the kernel runs on a copy of all and counts where it should.
    """
    if planes.device.type != "cpu":
        changed = kernel(planes.clone(), *parameters)
        planes.copy_(torch.where(active[:, None, None], changed, planes))
        return
    index = active.nonzero()[:, 0]
    if len(index) == len(active):
        kernel(planes, *parameters)
    elif len(index):
        chosen = planes.index_select(1, index)
        planes.index_copy_(1, index, kernel(chosen, *(value[index] for value in parameters)))


def jitter(planes: Tensor, factors: Tensor, order: Tensor) -> Tensor:
    """Change brightness, contrast, saturation and hue in an order of each sample's own.

    The first three are blends with something grey, so one kernel does whichever is due for each
    sample; the hue turns before, between or after these three steps.

    Args:
        planes: Shape [3, N, H, W].
        factors: Brightness, contrast, saturation, hue as torchvision's functions take them, [N, 4].
        order: Permutations of 0 to 3, the order of execution, [N, 4].
    """
    hue, hue_step = factors[:, 3], turn_of_hue(order)
    steps = torch.arange(3, device=order.device)
    due = order.gather(1, steps + (steps >= hue_step[:, None]))  # [N, 3], order without the hue
    keep = factors.gather(1, due)
    blends = torch.stack([keep, (1 - keep) * (due == 2), (1 - keep) * (due == 1)])
    for step in range(4):
        apply_where((hue_step == step) & (hue != 0), shift_hue, planes, hue)
        if step < 3:
            blend(planes, *blends[:, :, step])
    return planes


def turn_of_hue(order: Tensor) -> Tensor:
    """Return how many operations precede the hue in each order, [N]."""
    return (order == 3).int().argmax(dim=1)


def blend(planes: Tensor, keep: Tensor, luma: Tensor, mean: Tensor) -> Tensor:
    """Return `keep` image + `luma` its grey values + `mean` their mean, clamped to [0, 1].

    With weights [N] that is brightness (keep), contrast (keep, mean) or saturation (keep, luma).
    """
    keep, luma, mean = (weight[:, None, None] for weight in (keep, luma, mean))
    gray = to_gray(planes)
    rest = torch.addcmul(gray.mean(dim=(1, 2), keepdim=True) * mean, gray, luma)  # [N, H, W]
    return torch.addcmul(rest, planes, keep, out=planes).clamp_(0, 1)


def to_gray(planes: Tensor) -> Tensor:
    """Return luma by ITU-R 601 as torchvision rounds it, [N, H, W]."""
    red, green, blue = planes
    return (red * 0.2989).add_(green, alpha=0.587).add_(blue, alpha=0.114)


def grayscale(planes: Tensor) -> Tensor:
    """Replace every channel by the luma."""
    return planes.copy_(to_gray(planes).expand_as(planes))


def shift_hue(planes: Tensor, shift: Tensor) -> Tensor:
    """Turn the hue by `shift` of a full circle, [N] in [-0.5, 0.5].

    The round trip through HSV without its divisions and case distinctions. Let c = max - min, and
    measure hues in sixths of the circle. The hue lies (sum + max - 2 min - 2 red) / c from red, on
    green's side when green > blue. A channel at distance d from the new hue is min + c clamp(2 - d,
    0, 1). Distances are kept multiplied by c, so that grey pixels need no care.
    """
    red, green, blue = planes
    high, low = planes.amax(dim=0), planes.amin(dim=0)
    chroma = high - low
    away = (green + blue).sub_(red).add_(high).sub_(low, alpha=2)
    hue = away.copysign_(green - blue)  # [N, H, W], in [-3 c, 3 c], 0 is red
    centres = 2 * torch.arange(3, device=planes.device)[:, None]  # red, green, blue
    turn = (6 * shift - centres + 3).remainder(6) - 3  # [3, N], in [-3, 3)
    torch.addcmul(hue, chroma, turn[:, :, None, None], out=planes)
    planes.abs_().sub_(3 * chroma).abs_().add_(low - chroma)
    return torch.clamp(planes, low, high, out=planes)


def solarize(threshold: float, planes: Tensor) -> Tensor:
    """Invert every value at or above the threshold."""
    return planes.copy_(torch.where(planes >= threshold, 1 - planes, planes))


def mirror(planes: Tensor) -> Tensor:
    """Swap left and right."""
    return planes.copy_(planes.flip(-1))
