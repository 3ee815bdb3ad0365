"""CLIP: an image finds its text among those of a batch, and a text its image.

Radford et al. 2021, arXiv:2103.00020. Traps: the scale is learned as its logarithm, without weight
decay, and is clamped after each step, since a clamp in `forward` would end its gradient;
similarities and softmax are float32, for a scale of 100 multiplies what half precision rounds;
every process compares its own rows with those of all, and both gathered sides carry gradient.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sslcli.config.methods.captions import CLIPConfig
from sslcli.losses.contrastive import clip
from sslcli.methods.base import Progress
from sslcli.methods.captions import TwoTowers


class CLIP(TwoTowers):
    """Contrast images with texts, both ways (section 2.3, figure 3).

    Args:
        config: Width, temperature and its bound, and which tower is frozen.
        encoder: Of images.
        text_encoder: Of texts.
    """

    def __init__(self, config: CLIPConfig, encoder: nn.Module, text_encoder: nn.Module) -> None:
        super().__init__(config, encoder, text_encoder)
        self.most = math.log(config.max_scale)
        self.log_scale = nn.Parameter(torch.tensor(-math.log(config.temperature)))

    def loss(
        self, image: Tensor, text: Tensor, first: int, images: Tensor, texts: Tensor
    ) -> tuple[Tensor, float | None]:
        """Return the mean of both directions in nats; ln N is that of a guess among N pairs."""
        among = None if len(image) == len(images) else (images, texts)
        loss = clip(image, text, self.log_scale.exp(), first, among)
        return loss, math.log(len(images))

    @torch.no_grad()
    def after_step(self, progress: Progress, carry: Mapping[str, Tensor]) -> None:
        """Keep the scale between 1 and its bound (section 2.5)."""
        self.log_scale.clamp_(0, self.most)
