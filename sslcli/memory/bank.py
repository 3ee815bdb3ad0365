"""A memory with one vector for each sample of the data set, on the training device."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional


class Bank(nn.Module):
    """A vector for each sample, found by the sample's row in the data set.

    Rows start uniform in [-s, s] with s = sqrt(3 / dim), of about unit length but not exactly, as
    in the official code of InstDisc (Wu et al. 2018, arXiv:1805.01978); they are unit vectors from
    their first update on.

    Args:
        size: Samples of the data set.
        dim: Entries of a vector.
    """

    rows: Tensor

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        bound = (3 / dim) ** 0.5
        self.register_buffer("rows", torch.empty(size, dim).uniform_(-bound, bound))  # [N, D]

    def __len__(self) -> int:
        return len(self.rows)

    @torch.no_grad()
    def update(
        self, index: Int[Tensor, " batch"], vectors: Float[Tensor, "batch dim"], momentum: float
    ) -> None:
        """Move rows to momentum * row + (1 - momentum) * vector, and back to unit length.

        When a row is given twice, only one of its vectors is used.
        """
        moved = self.rows[index].lerp(vectors.to(self.rows), 1 - momentum)
        self.rows[index] = functional.normalize(moved, dim=1)
