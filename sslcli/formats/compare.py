"""Compare the features of an encoder with those of its exported copy."""

from dataclasses import dataclass

import torch

from sslcli.errors import CheckpointError
from sslcli.formats.inputs import Network
from sslcli.formats.report import ExportMeta


@dataclass(frozen=True)
class Comparison:
    """The largest difference over `samples` samples, and its tolerance."""

    samples: int
    max_abs_error: float
    tolerance: float

    @property
    def holds(self) -> bool:
        """Whether the copies agree; a difference that is not a number does not."""
        return self.max_abs_error <= self.tolerance


@torch.no_grad()
def compare(encoder: Network, copy: Network, meta: ExportMeta, relative: float) -> Comparison:
    """Run both on the same inputs.

    Args:
        encoder: The encoder in float32 and evaluation mode, as a function of tensors.
        copy: The exported one.
        meta: Its inputs.
        relative: Tolerance, as a share of the encoder's largest feature.

    Raises:
        CheckpointError: If the encoder's own features are not finite.
    """
    batches = meta.inputs.probes()
    expected = torch.cat([encoder(*batch) for batch in batches])
    if not expected.isfinite().all():
        raise CheckpointError(
            "this encoder's features are not finite",
            meta.encoder.name,
            "export an earlier checkpoint of the run",
        )
    found = torch.cat([copy(*batch) for batch in batches])
    if found.shape != expected.shape:
        return Comparison(len(expected), float("inf"), 0.0)
    error = (found - expected).abs().max().item()
    return Comparison(len(expected), error, relative * expected.abs().max().item())
