"""Colour operations on a batch, each sample with its own parameters, and colour spaces.

Images are [N, 3, H, W] float32 in [0, 1], contiguous, so that every step runs over whole planes and
a thread keeps to its own samples. Kernels change `images` in place and return it. Each equals
torchvision's function on float images, sample by sample, to 1e-5. Conversions between spaces return
new tensors; they are scikit-image's, to 1e-4 in the units of the space.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from sslcli.config.pixels import Space, Triple

Kernel = Callable[..., Tensor]
_Matrix = tuple[Triple, Triple, Triple]
_XYZ: _Matrix = (  # of linear red, green and blue (sRGB's primaries, white D65)
    (0.412453, 0.357580, 0.180423),
    (0.212671, 0.715160, 0.072169),
    (0.019334, 0.119193, 0.950227),
)
_WHITE = (0.95047, 1.0, 1.08883)  # X, Y and Z of D65 for an observer of 2 degrees
_YCBCR: _Matrix = (  # ITU-R 601, of values from 16 to 240
    (65.481, 128.553, 24.966),
    (-37.797, -74.203, 112.0),
    (112.0, -93.786, -18.214),
)
_BLACK = (16.0, 128.0, 128.0)  # Y, Cb and Cr of black
_LARGE = 1 << 16  # values of an image that a CPU changes one at a time, to stay in its caches


def apply_where(active: Tensor, kernel: Kernel, images: Tensor, *parameters: Tensor) -> None:
    """Run an in-place kernel on the samples for which `active` holds, [N] bool.

    On the CPU the others cost nothing; elsewhere asking which they are would stall the device, so
    the kernel runs on a copy of all and counts where it should.
    """
    if images.device.type != "cpu":
        changed = kernel(images.clone(), *parameters)
        images.copy_(torch.where(active[:, None, None, None], changed, images))
        return
    index = active.nonzero()[:, 0]
    if len(index) == 0:
        return
    if images[0].numel() >= _LARGE:
        for one in (slice(n, n + 1) for n in index.tolist()):
            kernel(images[one], *(value[one] for value in parameters))
        return
    first, last = int(index[0]), int(index[-1]) + 1
    if last - first == len(index):  # neighbours need no copy
        kernel(images[first:last], *(value[first:last] for value in parameters))
    else:
        chosen = images.index_select(0, index)
        images.index_copy_(0, index, kernel(chosen, *(value[index] for value in parameters)))


def jitter(images: Tensor, factors: Tensor, order: Tensor) -> Tensor:
    """Change brightness, contrast, saturation and hue in an order of each sample's own.

    The first three are blends with something grey, so one kernel does whichever is due for each
    sample; the hue turns before, between or after these three steps.

    Args:
        images: Shape [N, 3, H, W].
        factors: Brightness, contrast, saturation, hue as torchvision's functions take them, [N, 4].
        order: Permutations of 0 to 3, the order of execution, [N, 4].
    """
    if len(images) == 1 and images.device.type == "cpu":
        return _jitter_one(images, factors, order)
    hue, hue_step = factors[:, 3], (order == 3).int().argmax(dim=1)
    steps = torch.arange(3, device=order.device)
    due = order.gather(1, steps + (steps >= hue_step[:, None]))  # [N, 3], order without the hue
    keep = factors.gather(1, due)
    blends = torch.stack([keep, (1 - keep) * (due == 2), (1 - keep) * (due == 1)])
    for step in range(4):
        apply_where((hue_step == step) & (hue != 0), shift_hue, images, hue)
        if step < 3:
            blend(images, *blends[:, :, step, None, None, None])  # each [N, 1, 1, 1]
    return images


def _jitter_one(images: Tensor, factors: Tensor, order: Tensor) -> Tensor:
    """Do as `jitter` does to one image whose parameters the host knows, without needless steps."""
    strengths = factors[0].tolist()
    for step in order[0].tolist():
        factor = strengths[step]
        if step == 3:
            shift_hue(images, factors[:, 3])
            continue
        if step == 0:
            images.mul_(factor)
        elif step == 1:
            mean = to_gray(images).mean().item()
            images.mul_(factor).add_((1 - factor) * mean)
        else:
            gray = to_gray(images).mul_(1 - factor)
            images.mul_(factor).add_(gray)
        images.clamp_(0, 1)
    return images


def blend(images: Tensor, keep: Tensor, luma: Tensor, mean: Tensor) -> Tensor:
    """Return `keep` image + `luma` its grey values + `mean` their mean, clamped to [0, 1].

    With weights [N, 1, 1, 1] that is brightness (keep), contrast (keep and mean) and saturation
    (keep and luma).
    """
    gray = to_gray(images)
    rest = torch.addcmul(gray.mean(dim=(2, 3), keepdim=True) * mean, gray, luma)  # [N, 1, H, W]
    return torch.addcmul(rest, images, keep, out=images).clamp_(0, 1)


def to_gray(images: Tensor) -> Tensor:
    """Return the luma of ITU-R 601 with torchvision's digits, [N, 1, H, W]."""
    red, green, blue = images.split(1, dim=1)
    return (red * 0.2989).add_(green, alpha=0.587).add_(blue, alpha=0.114)


def grayscale(images: Tensor) -> Tensor:
    """Replace every channel by the luma."""
    return images.copy_(to_gray(images).expand_as(images))


def shift_hue(images: Tensor, shift: Tensor) -> Tensor:
    """Turn the hue by `shift` of a full circle, [N] in [-0.5, 0.5].

    The round trip through HSV without its divisions and case distinctions. Let c = max - min, and
    measure hues in sixths of the circle. The hue lies (sum + max - 2 min - 2 red) / c from red, on
    green's side when green > blue. A channel at distance d from the new hue is min + c clamp(2 - d,
    0, 1). Distances are kept multiplied by c, so that grey pixels need no care.
    """
    red, green, blue = images.split(1, dim=1)
    high, low = images.amax(dim=1, keepdim=True), images.amin(dim=1, keepdim=True)
    chroma = high - low
    away = (green + blue).sub_(red).add_(high).sub_(low, alpha=2)
    hue = away.copysign_(green - blue)  # [N, 1, H, W], in [-3 c, 3 c], 0 is red
    centres = 2 * torch.arange(3, device=images.device)  # of red, green and blue
    turn = (6 * shift[:, None] - centres + 3).remainder(6) - 3  # [N, 3], in [-3, 3)
    torch.addcmul(hue, chroma, turn[:, :, None, None], out=images)
    images.abs_().sub_(3 * chroma).abs_().add_(low - chroma)
    return torch.clamp(images, low, high, out=images)


def solarize(threshold: float, images: Tensor) -> Tensor:
    """Invert every value at or above the threshold."""
    return images.copy_(torch.where(images >= threshold, 1 - images, images))


def mirror(images: Tensor) -> Tensor:
    """Swap left and right."""
    return images.copy_(images.flip(-1))


def rgb_to_lab(images: Tensor) -> Tensor:
    """Return L, a and b in their own units (L from 0 to 100) of D65 and 2 degrees; a new tensor.

    Args:
        images: Red, green and blue of sRGB in [0, 1], [N, 3, H, W].
    """
    curved = ((images.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4  # no root of a negative number
    linear = _with_line(curved, images, 0.04045, 1 / 12.92)
    white = _scaled(_XYZ, [1 / each for each in _WHITE])
    xyz = _mixed(linear, white)
    knee = 7.787 * 0.008856 + 16 / 116  # where the line ends, a millionth beside the root
    root = xyz.clamp(min=knee**3) ** (1 / 3)  # no infinite slope at 0
    x, y, z = _with_line(root, xyz, 0.008856, 7.787).unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=1)


def lab_to_rgb(images: Tensor) -> Tensor:
    """Undo `rgb_to_lab`, and bring what no screen shows into [0, 1]; a new tensor."""
    light, a, b = images.unbind(1)
    y = (light + 16) / 116
    roots = torch.stack([y + a / 500, y, y - b / 200], dim=1)
    xyz = torch.where(roots > 0.2068966, roots**3, (roots - 16 / 116) / 7.787)
    linear = _mixed(xyz, _inverse(_scaled(_XYZ, [1 / each for each in _WHITE])))
    curved = 1.055 * linear.clamp(min=0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(linear > 0.0031308, curved, 12.92 * linear).clamp_(0, 1)


def to_space(images: Tensor, space: Space) -> Tensor:
    """Return images [N, 3, H, W] in [0, 1] in a colour space's own units."""
    if space == "lab":
        return rgb_to_lab(images)
    if space == "ycbcr":
        return _mixed(images, _YCBCR, _BLACK)
    return images


def to_rgb(images: Tensor, space: Space) -> Tensor:
    """Undo `to_space`, and clip to [0, 1]."""
    if space == "lab":
        return lab_to_rgb(images)
    if space == "ycbcr":
        black = torch.tensor(_BLACK, device=images.device)[:, None, None]
        return _mixed(images - black, _inverse(_YCBCR)).clamp_(0, 1)
    return images.clamp(0, 1)


def _with_line(curve: Tensor, values: Tensor, start: float, slope: float) -> Tensor:
    """Return a curve that is level below `start`, with a line of a slope there instead.

    A fifth of the time that a choice between two finished curves takes on a CPU.
    """
    return torch.add(curve, (values - start).clamp_(max=0), alpha=slope)


def _mixed(images: Tensor, matrix: _Matrix, offset: Triple = (0.0, 0.0, 0.0)) -> Tensor:
    """Return the matrix times the channels; sums of planes, since a product may be TF32."""
    red, green, blue = images.unbind(1)
    rows = zip(matrix, offset, strict=True)
    return torch.stack([red * r + green * g + blue * b + o for (r, g, b), o in rows], dim=1)


def _scaled(matrix: _Matrix, factors: list[float]) -> _Matrix:
    """Return the matrix with each row multiplied by a factor."""
    one, two, three = (
        (row[0] * factor, row[1] * factor, row[2] * factor)
        for row, factor in zip(matrix, factors, strict=True)
    )
    return one, two, three


def _inverse(matrix: _Matrix) -> _Matrix:
    one, two, three = np.linalg.inv(np.array(matrix)).tolist()
    return tuple(one), tuple(two), tuple(three)
