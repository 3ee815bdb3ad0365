"""ConSERT's noise on the embeddings of tokens, with exact counts (Yan et al. 2021, section 3.2.2).

arXiv:2105.11741; the counts are those of the official code. Draws take torch's generator.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def token_cutoff(
    embeddings: Float[Tensor, "batch length dim"], mask: Bool[Tensor, "batch length"], rate: float
) -> Float[Tensor, "batch length dim"]:
    """Set the embeddings of int(n * rate) of a sentence's n real tokens to zero.

    Args:
        embeddings: Output of the embeddings, behind their LayerNorm, shape [B, L, H].
        mask: Whether a place holds a token, shape [B, L]; [CLS] and [SEP] may be hit too.
        rate: Share of the tokens, from 0 to 1.

    Returns:
        A new tensor, shape [B, L, H].
    """
    is_cut = _drawn(mask.bool(), _counts(mask.sum(dim=1), rate))
    return embeddings.masked_fill(is_cut[..., None], 0)


def feature_cutoff(
    embeddings: Float[Tensor, "batch length dim"], mask: Bool[Tensor, "batch length"], rate: float
) -> Float[Tensor, "batch length dim"]:
    """Set int(H * rate) entries of the embeddings to zero, the same ones in all of a sentence.

    Args:
        embeddings: As in `token_cutoff`.
        mask: Whether a place holds a token; padding is cut like the rest, and nothing reads it.
        rate: Share of the entries, from 0 to 1.

    Returns:
        A new tensor, shape [B, L, H].
    """
    batch, _, dim = embeddings.shape
    everywhere = mask.new_ones(batch, dim, dtype=torch.bool)
    is_cut = _drawn(everywhere, _counts(everywhere.sum(dim=1), rate))
    return embeddings.masked_fill(is_cut[:, None, :], 0)


def dropout_cutoff(
    embeddings: Float[Tensor, "batch length dim"], mask: Bool[Tensor, "batch length"], rate: float
) -> Float[Tensor, "batch length dim"]:
    """Set int(n * H * rate) entries of a sentence's n real tokens to zero, and scale nothing up.

    Args:
        embeddings: As in `token_cutoff`.
        mask: Whether a place holds a token, shape [B, L].
        rate: Share of the entries, from 0 to 1.

    Returns:
        A new tensor, shape [B, L, H].
    """
    entries = mask.bool()[..., None].expand(embeddings.shape).flatten(1)  # [B, L * H]
    is_cut = _drawn(entries, _counts(entries.sum(dim=1), rate))
    return embeddings.masked_fill(is_cut.view(embeddings.shape), 0)


def shuffled_positions(mask: Bool[Tensor, "batch length"]) -> Int[Tensor, "batch length"]:
    """Return positions 0 to n - 1 in random order for a sentence's n real tokens.

    Args:
        mask: Whether a place holds a token, shape [B, L]; padding stands behind the tokens and
            keeps its place.

    Returns:
        Positions, shape [B, L] int64.
    """
    places = torch.arange(mask.shape[1], device=mask.device)
    keys = torch.rand(mask.shape, device=mask.device)
    return keys.where(mask.bool(), 1.0 + places).argsort(dim=1)


def _counts(whole: Tensor, rate: float) -> Tensor:
    """Return int(whole * rate) of each row, [B]; float64, as Python computes it."""
    if not 0 <= rate <= 1:
        raise ValueError(f"a rate of what is cut lies in [0, 1], got {rate}")
    return (whole.double() * rate).long()


def _drawn(allowed: Tensor, counts: Tensor) -> Tensor:
    """Choose so many of the allowed places of each row at random, [B, N] bool.

    Args:
        allowed: Where a choice may fall, [B, N] bool.
        counts: How many, [B]; no more than are allowed.
    """
    keys = torch.rand(allowed.shape, device=allowed.device).masked_fill(~allowed, torch.inf)
    return keys.argsort(dim=1).argsort(dim=1) < counts[:, None]  # the rank of each place
