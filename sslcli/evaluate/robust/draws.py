"""Random numbers of corruptions and attacks: a function of (seed, row), whatever the batch."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sslcli.data.counter import uniform


@dataclass(frozen=True)
class Draws:
    """The random numbers that one purpose needs for a batch.

    They do not depend on the severity, so that only the corruption's strength differs.

    Attributes:
        seed: Seed of all draws.
        rows: Index of each image in the data set, [B] int64, on the images' device.
        stream: The purpose; 301 and above are this package's streams of the counter.
    """

    seed: int
    rows: Tensor
    stream: int

    def uniform(self, which: int, *shape: int) -> Tensor:
        """Return numbers in [0, 1), [B, *shape] float32; `which` parts draws of one purpose."""
        drawn = uniform(self.seed, 0, self.rows, which, self.stream, math.prod(shape))
        return drawn.view(len(self.rows), *shape)

    def normal(self, which: int, *shape: int) -> Tensor:
        """Return standard normal numbers, all finite, [B, *shape] float32."""
        drawn: Tensor = torch.special.ndtri(self.uniform(which, *shape).clamp(min=2**-25))
        return drawn
