"""Collapse monitors: the spread and the effective rank of a batch of embeddings."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


@torch.no_grad()
def embedding_std(embeddings: Float[Tensor, "batch dim"]) -> Float[Tensor, ""]:
    """Return the mean per-channel deviation of unit vectors, times sqrt(D).

    About 1 for vectors spread over the sphere, 0 when all are one (Chen & He 2021,
    arXiv:2011.10566, section 4.1).
    """
    unit = functional.normalize(embeddings.float(), dim=1)
    return unit.std(dim=0).mean() * unit.shape[1] ** 0.5


@torch.no_grad()
def effective_rank(embeddings: Float[Tensor, "batch dim"]) -> Float[Tensor, ""]:
    """Return exp of the entropy of the normalised singular values (Roy & Vetterli 2007).

    The embeddings are centred first; the value lies between 1 (a line, or a single point) and
    min(B, D). What float32 rounding alone can cause counts as nothing, so that a collapsed batch
    reads 1. Embeddings that are not finite give NaN.
    """
    if embeddings.device.type == "mps":  # which has neither float64 nor eigenvalues
        embeddings = embeddings.cpu()
    is_finite = embeddings.isfinite().all()
    values = embeddings.double().where(is_finite, 0.0)
    rounding = torch.finfo(torch.float32).eps * values.abs().amax()
    centred = values - values.mean(dim=0)
    gram = centred.T @ centred if centred.shape[1] < centred.shape[0] else centred @ centred.T
    singular = torch.linalg.eigvalsh(gram).clamp(min=0).sqrt()
    singular = torch.where(singular > rounding * embeddings.numel() ** 0.5, singular, 0.0)
    share = singular / singular.sum().clamp(min=torch.finfo(torch.float64).tiny)
    rank = torch.special.entr(share).sum().exp().float()
    return rank.where(is_finite, torch.nan)
