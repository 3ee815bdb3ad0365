"""Noise of CIFAR-10-C (Hendrycks & Dietterich 2019, arXiv:1903.12261).

Images are [B, 3, H, W] float32 in [0, 1], whole levels of 255; results are cut by the caller.
"""

import torch
from torch import Tensor

from sslcli.evaluate.robust.draws import Draws


def gaussian_noise(images: Tensor, deviation: float, draws: Draws) -> Tensor:
    """Add normal noise."""
    return images + deviation * draws.normal(0, *images.shape[1:])


def speckle_noise(images: Tensor, deviation: float, draws: Draws) -> Tensor:
    """Add normal noise in proportion to the brightness."""
    return images + images * deviation * draws.normal(0, *images.shape[1:])


def impulse_noise(images: Tensor, share: float, draws: Draws) -> Tensor:
    """Set a share of the values to 0 or 1, each channel for itself."""
    hit = draws.uniform(0, *images.shape[1:]) < share
    return torch.where(hit, draws.uniform(1, *images.shape[1:]).round(), images)


def shot_noise(images: Tensor, photons: float, draws: Draws) -> Tensor:
    """Draw each value from a Poisson distribution, in units of 1 / `photons`.

    Counts are read off the distribution function, tabled for the 256 levels there are. Its rows lie
    behind each other in one rising list, so that one search serves all values.
    """
    levels = images.mul(255).round()
    most = int(photons + 8 * photons**0.5 + 8)  # the tail beyond is below 1e-12
    counts = torch.arange(1, most + 1, dtype=torch.float64, device=images.device)
    rates = torch.arange(256, dtype=torch.float64, device=images.device) * (photons / 255)
    below = torch.special.gammaincc(counts, rates[:, None])  # [256, most], P(X <= counts - 1)
    table = (below + torch.arange(256, device=images.device)[:, None]).flatten()
    sought = levels.double() + draws.uniform(0, *images.shape[1:])
    found = torch.searchsorted(table, sought.contiguous(), right=True) - levels.long() * most
    return (found / photons).float()
