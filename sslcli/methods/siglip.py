"""SigLIP: of each image and each text of a batch, say whether they belong together.

Zhai et al. 2023, arXiv:2303.15343. Traps: a bias is learned beside the scale, without which the
many wrong pairs would drive the first steps; the sum over a row's pairs is not divided by their
number.
"""

import math

import torch
from torch import Tensor, nn

from sslcli.config.methods.captions import SigLIPConfig
from sslcli.losses.contrastive import siglip
from sslcli.methods.captions import TwoTowers


class SigLIP(TwoTowers):
    """Judge every pair by itself (section 3.2, algorithm 1).

    Args:
        config: Width, scale and bias at the start, and which tower is frozen.
        encoder: Of images.
        text_encoder: Of texts.
    """

    def __init__(self, config: SigLIPConfig, encoder: nn.Module, text_encoder: nn.Module) -> None:
        super().__init__(config, encoder, text_encoder)
        self.log_scale = nn.Parameter(torch.tensor(math.log(config.scale)))
        self.bias = nn.Parameter(torch.tensor(config.bias))

    @property
    def scoring(self) -> tuple[float, float]:
        """The learned factor and the learned bias."""
        return self.log_scale.detach().exp().item(), self.bias.item()

    def loss(
        self, image: Tensor, text: Tensor, first: int, images: Tensor, texts: Tensor
    ) -> tuple[Tensor, float | None]:
        """Return the mean over own images of the sum over all texts, in nats."""
        return siglip(image, text, self.log_scale.exp(), self.bias, first, texts), None
