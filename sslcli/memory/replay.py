"""The replay buffer: samples of earlier steps, from which SGLD continues (Du & Mordatch 2019)."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn


class ReplayBuffer(nn.Module):
    """A fixed number of images on the training device, drawn and written by row, nothing read back.

    A row that was never written has age 0, and its chain must start afresh. In a divided buffer the
    rows of class y are the contiguous block y; labels are kept beside the images in either case.

    Args:
        size: Rows, divisible by `blocks`.
        shape: Of one image, (C, H, W).
        blocks: Number of contiguous blocks, one a class; 1 for a buffer that is not divided.
    """

    images: Tensor
    labels: Tensor
    age: Tensor
    pointer: Tensor

    def __init__(self, size: int, shape: tuple[int, ...], blocks: int = 1) -> None:
        super().__init__()
        if size % blocks:
            raise ValueError(f"{size} rows cannot be divided among {blocks} classes")
        self.block = size // blocks
        self.register_buffer("images", torch.zeros(size, *shape))  # [N, C, H, W]
        self.register_buffer("labels", torch.zeros(size, dtype=torch.int64))  # [N]
        self.register_buffer("age", torch.zeros(size, dtype=torch.int64))  # [N] visits since fresh
        self.register_buffer("pointer", torch.zeros((), dtype=torch.int64))

    def __len__(self) -> int:
        return len(self.images)

    def distinct_rows(
        self, labels: Int[Tensor, " batch"], part: int = 0, parts: int = 1
    ) -> Int[Tensor, " batch"]:
        """Draw different rows, each from its label's block; label 0 in an undivided buffer.

        Rows are different so that each is written back once: among 64 of 10,000 drawn with
        replacement two coincide in 18 % of steps. The parts of a step see the buffer as it was
        before the step, so each draws from every `parts`-th row only, beginning with the `part`-th.

        Raises:
            ValueError: If a block has fewer such rows than the batch.
        """
        own = len(range(part, self.block, parts))
        if len(labels) > own:
            raise ValueError(f"{len(labels)} chains need blocks of as many rows, not {own}")
        within = torch.randperm(own, device=self.images.device)[: len(labels)]
        return labels * self.block + within * parts + part

    def past_rows(self, count: int) -> Int[Tensor, " count"]:
        """Draw written rows with replacement; row 0 when none is written."""
        written = (self.age > 0).sum()
        share = torch.rand(count, device=self.images.device)
        return (share * written).long().clamp(max=len(self) - 1)

    def is_empty(self, rows: Int[Tensor, " batch"]) -> Bool[Tensor, " batch"]:
        """Say which rows were never written."""
        return self.age[rows] == 0

    @torch.no_grad()
    def write(
        self,
        rows: Int[Tensor, " batch"],
        images: Float[Tensor, "batch ..."],
        labels: Int[Tensor, " batch"],
        is_fresh: Bool[Tensor, " batch"],
    ) -> None:
        """Write the ends of chains to their rows, also of chains that started afresh.

        A chain that ended in a value that is not finite leaves its row empty.
        """
        is_whole = images.flatten(1).isfinite().all(dim=1)
        shape = (-1,) + (1,) * (images.ndim - 1)
        self.images[rows] = torch.where(is_whole.view(shape), images, 0.0).to(self.images)
        self.labels[rows] = labels
        age = torch.where(is_fresh, 1, self.age[rows] + 1)
        self.age[rows] = torch.where(is_whole, age, 0)

    @torch.no_grad()
    def push(self, images: Float[Tensor, "batch ..."], labels: Int[Tensor, " batch"]) -> None:
        """Write over the oldest rows; the batch must not be larger than the buffer."""
        if len(images) > len(self):
            raise ValueError(f"{len(images)} images do not fit a buffer of {len(self)}")
        rows = (self.pointer + torch.arange(len(images), device=images.device)) % len(self)
        self.write(rows, images, labels, torch.ones_like(rows, dtype=torch.bool))
        self.pointer.copy_((self.pointer + len(images)) % len(self))
