"""A first-in, first-out queue of vectors on the training device."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


class Queue(nn.Module):
    """The latest vectors of earlier steps; rows from 0 to `held` are vectors, the rest is empty.

    Args:
        size: Rows.
        dim: Entries of a vector.
    """

    rows: Tensor
    pointer: Tensor
    held: Tensor

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("rows", torch.zeros(size, dim))  # [K, D]
        self.register_buffer("pointer", torch.zeros((), dtype=torch.int64))
        self.register_buffer("held", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def fill(self) -> "Queue":
        """Fill with random unit vectors, as MoCo starts, and return the queue."""
        self.push(functional.normalize(torch.randn_like(self.rows), dim=1))
        return self

    def __len__(self) -> int:
        return len(self.rows)

    @torch.no_grad()
    def push(self, vectors: Float[Tensor, "batch dim"]) -> None:
        """Write over the oldest rows; after the last row comes row 0.

        Raises:
            ValueError: If there are more vectors than rows.
        """
        if len(vectors) > len(self):
            raise ValueError(f"{len(vectors)} vectors do not fit a queue of {len(self)}")
        index = (self.pointer + torch.arange(len(vectors), device=vectors.device)) % len(self)
        self.rows[index] = vectors.to(self.rows)
        self.pointer.copy_((self.pointer + len(vectors)) % len(self))
        self.held.copy_((self.held + len(vectors)).clamp(max=len(self)))
