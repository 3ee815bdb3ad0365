"""CMC's losses: tell the other view of an image from rows that were drawn out of its memory.

Raw embeddings go in and are normalised here, in float32 at least; memory rows are taken as they
are. Within a batch, without a memory, the loss of two views is
`2 * losses.contrastive.clip(a, b, 1 / temperature)`.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from sslcli.losses.contrastive import info_nce
from sslcli.losses.nce import instance_nce
from sslcli.losses.precision import at_least_float32


def cmc_nce(
    a: Float[Tensor, "batch dim"],
    b: Float[Tensor, "batch dim"],
    rows_a: Float[Tensor, "batch candidates dim"],
    rows_b: Float[Tensor, "batch candidates dim"],
    temperature: float,
    num_instances: int,
    normalizers: tuple[float | Float[Tensor, ""], float | Float[Tensor, ""]],
) -> Float[Tensor, ""]:
    """Contrast two views by noise-contrastive estimation (Tian et al. 2020, arXiv:1906.05849).

    a meets b's rows and b meets a's, each as InstDisc's loss has it.

    Args:
        a: Raw embeddings of the first view, shape [B, D].
        b: Raw embeddings of the second view, in the same order, shape [B, D].
        rows_a: Rows of the first view's memory, the own one first, no gradient, [B, 1 + K, D].
        rows_b: The same rows of the second view's memory.
        temperature: What inner products are divided by, above 0.
        num_instances: Rows of a memory, that the K are drawn from.
        normalizers: Z of a's scores and Z of b's, numbers or scalar tensors without gradient; see
            `losses.nce.estimated_normalizer`.

    Returns:
        Scalar in nats, the sum of both directions; `2 * candidate_chance(K)` at a guess.

    Raises:
        ValueError: If `temperature` is not positive, or there is no instance.
    """
    both = bank_scores(a, rows_b, temperature), bank_scores(b, rows_a, temperature)
    pairs = zip(both, normalizers, strict=True)
    forth, back = (nce_of(scores, num_instances, normalizer) for scores, normalizer in pairs)
    return forth + back


def cmc_softmax(
    a: Float[Tensor, "batch dim"],
    b: Float[Tensor, "batch dim"],
    rows_a: Float[Tensor, "batch candidates dim"],
    rows_b: Float[Tensor, "batch candidates dim"],
    temperature: float,
) -> Float[Tensor, ""]:
    """Contrast two views by the softmax over the own row and the K drawn ones.

    Arguments as `cmc_nce`.

    Returns:
        Scalar in nats, the sum of both directions; 2 ln(K + 1) when all scores are equal.

    Raises:
        ValueError: If `temperature` is not positive.
    """
    forth = info_nce(bank_scores(a, rows_b, temperature))
    return forth + info_nce(bank_scores(b, rows_a, temperature))


def bank_scores(
    embeddings: Float[Tensor, "batch dim"],
    rows: Float[Tensor, "batch candidates dim"],
    temperature: float,
) -> Float[Tensor, "batch candidates"]:
    """Score each embedding against its own rows: inner products over the temperature.

    Args:
        embeddings: Raw, shape [B, D].
        rows: Of a memory, taken as they are, [B, 1 + K, D].
        temperature: Above 0.

    Raises:
        ValueError: If `temperature` is not positive.
    """
    if not temperature > 0:
        raise ValueError(f"the temperature must be positive, got {temperature}")
    units = functional.normalize(at_least_float32(embeddings), dim=1) / temperature
    with torch.autocast(units.device.type, enabled=False):
        return torch.einsum("bd,bkd->bk", units, at_least_float32(rows))


def nce_of(
    scores: Float[Tensor, "batch candidates"],
    num_instances: int,
    normalizer: float | Float[Tensor, ""],
) -> Float[Tensor, ""]:
    """Return `instance_nce` of scores whose first column is the own row's."""
    z = normalizer if isinstance(normalizer, Tensor) else scores.new_tensor(normalizer)
    return instance_nce(scores[:, 0], scores[:, 1:], num_instances, z)
