"""How a batch of embeddings fills its space; the collapse monitors."""

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
    min(B, D).
    """
    centred = embeddings.float() - embeddings.float().mean(dim=0)
    gram = centred.T @ centred if centred.shape[1] < centred.shape[0] else centred @ centred.T
    values = torch.linalg.eigvalsh(gram).clamp(min=0).sqrt()
    share = values / values.sum().clamp(min=torch.finfo(values.dtype).tiny)
    return torch.special.entr(share).sum().exp()
