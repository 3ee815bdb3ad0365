"""The latest images of each class, and draws from the Gaussian that fits them."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

RIDGE = 1e-4  # variance added in every direction (JEM++, Yang & Ji 2021, arXiv:2109.09032)


class ClassImages(nn.Module):
    """A ring of images for each class, on the training device.

    A draw of class y is mean + sum_i e_i (x_i - mean) / sqrt(n - 1) + sqrt(ridge) e with normal
    e_i and e. Its covariance is that of the n images plus the ridge, so no D x D matrix is ever
    made: for 3 x 32 x 32 images a Cholesky factor takes 38 MB a class, 100 images 1.2 MB.

    Args:
        num_classes: Rings.
        size: Images a ring.
        shape: Of one image, (C, H, W).
    """

    images: Tensor
    counts: Tensor

    def __init__(self, num_classes: int, size: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.size = size
        # Ring after ring, since only tensors of rank 4 can be channels_last.
        self.register_buffer("images", torch.zeros(num_classes * size, *shape))
        self.register_buffer("counts", torch.zeros(num_classes, dtype=torch.int64))  # pushed so far

    @torch.no_grad()
    def push(self, images: Float[Tensor, "batch ..."], labels: Int[Tensor, " batch"]) -> None:
        """Write each image over the oldest of its class; of more than fit, any may stay."""
        classes = torch.arange(len(self.counts), device=labels.device)
        is_of = (labels[:, None] == classes).long()  # [B, C]
        before = (is_of.cumsum(dim=0) - is_of).gather(1, labels[:, None]).squeeze(1)  # [B]
        slots = (self.counts[labels] + before) % self.size
        self.images[labels * self.size + slots] = images.to(self.images)
        self.counts += is_of.sum(dim=0)

    def draw(
        self, labels: Int[Tensor, " batch"], otherwise: Float[Tensor, "batch ..."]
    ) -> Float[Tensor, "batch ..."]:
        """Draw an image of each label; `otherwise` where the class has fewer than two images."""
        held = self.counts.clamp(max=self.size)  # [C]
        flat = self.images.flatten(1)  # [C * M, D], zero where nothing is held
        mean = flat.view(len(held), self.size, -1).sum(dim=1) / held.clamp(min=1)[:, None]
        mean = mean[labels]  # [B, D]
        weights = self._weights(labels, held)  # [B, C * M]
        deviation = weights @ flat - weights.sum(dim=1, keepdim=True) * mean
        drawn = mean + deviation + RIDGE**0.5 * torch.randn_like(mean)
        has_enough = (held[labels] >= 2).view(-1, *(1,) * (otherwise.ndim - 1))
        return torch.where(has_enough, drawn.view_as(otherwise), otherwise)

    def _weights(self, labels: Tensor, held: Tensor) -> Tensor:
        """Draw a normal factor over sqrt(n - 1) for each image that a label's class holds.

        Factors of other classes are zero: multiplying by them costs less than gathering [B, M, D].
        """
        slots = torch.arange(self.size, device=labels.device)
        is_held = slots < held[:, None]  # [C, M]
        classes = torch.arange(len(held), device=labels.device)
        is_own = (labels[:, None] == classes)[:, :, None] & is_held  # [B, C, M]
        normal = torch.randn(is_own.shape, device=labels.device, dtype=self.images.dtype)
        scale = (held[labels].clamp(min=2) - 1).sqrt()[:, None]
        return (normal * is_own).flatten(1) / scale
