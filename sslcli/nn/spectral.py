"""Convolutions divided by their largest singular value (Miyato et al. 2018, arXiv:1802.05957)."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional


class SpectralConv2d(nn.Conv2d):
    """A convolution whose weight, as a matrix of one row an output channel, has norm 1.

    One power iteration gives the singular vectors, without gradient. `forward` does not keep its
    result, so that a sampler may call it often; call `advance` once a step.

    Args:
        before: Input channels.
        after: Output channels.
        kernel: Side of the kernel; the map keeps its size.
        bias: Whether it has one, at zero.
        growing: Start at about zero and let the norm grow to 1 at most, rather than be 1 (IGEBM's
            second convolution of a block; rosinality's W / (sigma + 1e-6) * min(sigma, 1)).
    """

    left: Tensor
    held: Tensor | None = None  # the divided weight, within `dividing_once`

    def __init__(
        self, before: int, after: int, kernel: int, *, bias: bool = True, growing: bool = False
    ) -> None:
        super().__init__(before, after, kernel, padding=kernel // 2, bias=bias)
        self.growing = growing
        nn.init.normal_(self.weight, std=1e-10 if growing else 1.0)
        if self.bias is not None:
            nn.init.zeros_(self.bias)
        self.register_buffer("left", functional.normalize(torch.randn(after), dim=0))

    def forward(self, images: Tensor) -> Tensor:
        """Map [B, before, H, W] to [B, after, H, W]."""
        weight = self.normalized() if self.held is None else self.held
        return self._conv_forward(images, weight, self.bias)

    def normalized(self) -> Tensor:
        """Return the divided weight, in float32 whatever autocast says."""
        with torch.autocast(self.weight.device.type, enabled=False):
            matrix = self.weight.flatten(1)  # [after, before * kernel^2]
            left, right = self._iterate(matrix)
            sigma = left @ (matrix @ right)
            return self.weight * self.grown(sigma) if self.growing else self.weight / sigma

    def grown(self, sigma: Tensor) -> Tensor:
        """Return the factor of a growing weight for its norm."""
        return sigma.clamp(max=1) / (sigma + 1e-6)

    @torch.no_grad()
    def advance(self) -> None:
        """Keep the result of one power iteration."""
        self.left.copy_(self._iterate(self.weight.flatten(1))[0])

    @torch.no_grad()
    def _iterate(self, matrix: Tensor) -> tuple[Tensor, Tensor]:
        right = functional.normalize(self.left @ matrix, dim=0, eps=1e-30)
        return functional.normalize(matrix @ right, dim=0, eps=1e-30), right


def advance_spectral_norms(network: nn.Module) -> None:
    """Do one power iteration in every `SpectralConv2d` of a network."""
    for module in network.modules():
        if isinstance(module, SpectralConv2d):
            module.advance()


@contextmanager
def dividing_once(network: nn.Module) -> Iterator[None]:
    """Divide each weight once for all calls in a block in which no weight changes, such as SGLD."""
    layers = [module for module in network.modules() if isinstance(module, SpectralConv2d)]
    for layer in layers:
        layer.held = layer.normalized()
    try:
        yield
    finally:
        for layer in layers:
            layer.held = None
