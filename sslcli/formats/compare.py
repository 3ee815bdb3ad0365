"""Compare the features of an encoder with those of its exported copy."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from sslcli.errors import CheckpointError
from sslcli.formats.report import ExportMeta

Features = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Comparison:
    """The largest difference over `images` images, and its tolerance."""

    images: int
    max_abs_error: float
    tolerance: float

    @property
    def holds(self) -> bool:
        """Whether the copies agree; a difference that is not a number does not."""
        return self.max_abs_error <= self.tolerance


def probes(meta: ExportMeta) -> list[Tensor]:
    """Return batches of 1, 3 and 5 normalised images, always the same.

    The smooth ones have the range and the low frequencies of photographs, the noise has all
    frequencies, and black and white are the corners of the range.
    """
    generator = torch.Generator().manual_seed(0)
    size = (meta.image_size, meta.image_size)
    coarse = torch.rand(4, 3, 4, 4, generator=generator)
    smooth = functional.interpolate(coarse, size, mode="bilinear")
    noise = torch.randn(3, 3, *size, generator=generator)
    corners = torch.stack([torch.zeros(3, *size), torch.ones(3, *size)])
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (meta.mean, meta.std))
    return [
        (smooth[:1] - mean) / std,
        noise,
        (torch.cat([smooth[1:], corners]) - mean) / std,
    ]


@torch.no_grad()
def compare(encoder: Features, copy: Features, meta: ExportMeta, relative: float) -> Comparison:
    """Run both on the same images.

    Args:
        encoder: The encoder in float32 and evaluation mode.
        copy: The exported one.
        meta: Size and statistics of the images.
        relative: Tolerance, as a share of the encoder's largest feature.

    Raises:
        CheckpointError: If the encoder's own features are not finite.
    """
    batches = probes(meta)
    expected = torch.cat([encoder(batch) for batch in batches])
    if not expected.isfinite().all():
        raise CheckpointError(
            "this encoder's features are not finite",
            meta.encoder.name,
            "export an earlier checkpoint of the run",
        )
    found = torch.cat([copy(batch) for batch in batches])
    if found.shape != expected.shape:
        return Comparison(len(expected), float("inf"), 0.0)
    error = (found - expected).abs().max().item()
    return Comparison(len(expected), error, relative * expected.abs().max().item())
