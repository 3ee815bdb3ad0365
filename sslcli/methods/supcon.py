"""Supervised contrastive learning: views of one class attract each other, all others repel.

Khosla et al. 2020, arXiv:2004.11362. This is the first stage, an encoder without classifier. The
second, a linear classifier on it, is `ssl linear-eval`. Traps: labels are gathered in the order of
the embeddings; L_in, which some libraries call SupCon, is the worse of the two forms; the official
code multiplies the loss by temperature / 0.07; the code for ImageNet makes the encoder's output a
unit vector before either head (`encoder.normalize_features`), so that every evaluation of such a
checkpoint sees unit vectors, as the paper's classifier does.
"""

import math

import torch
from torch import Tensor, nn

from sslcli.config.methods.contrastive import SupConConfig
from sslcli.data.batch import Batch
from sslcli.distributed.collective import gather, gather_with_gradient
from sslcli.losses.contrastive import nearest_top1, sup_con
from sslcli.methods.base import BatchContrast, Output, Progress, feature_dim
from sslcli.methods.classifier import labels_of
from sslcli.nn.heads import mlp


class SupCon(BatchContrast):
    """Contrast classes with each other, in two views of every image (section 3.2).

    Args:
        config: Head, temperature and form of the loss.
        encoder: Maps images to [B, encoder.feature_dim].
    """

    def __init__(self, config: SupConConfig, encoder: nn.Module) -> None:
        super().__init__()
        self.config = config
        self.encoder = encoder
        self.projector = _head(config, feature_dim(encoder))

    def embed(self, batch: Batch) -> tuple[Tensor, ...]:
        """Return the projections of the first two views, each [B, D]."""
        together: Tensor = self.projector(self.encoder(torch.cat(batch.views[:2])))  # [2B, D]
        return together.chunk(2)

    def compare(self, embeddings: tuple[Tensor, ...], batch: Batch, progress: Progress) -> Output:
        """Return the loss in nats, over both views of all processes' images."""
        config, labels = self.config, labels_of(batch)
        views = torch.cat([gather_with_gradient(z) for z in embeddings])  # [2 * W * B, D]
        classes = gather(labels).repeat(len(embeddings))
        loss = sup_con(views, classes, config.temperature, config.form)
        scale = config.temperature / config.base_temperature if config.base_temperature else 1.0
        chance = scale * math.log(len(views) - 1)
        metrics = {"contrast_top1": nearest_top1(views, classes)}
        return Output(scale * loss, metrics, embeddings=embeddings[0].detach(), chance=chance)


def _head(config: SupConConfig, width: int) -> nn.Sequential:
    """Return the head: an MLP in CIFAR's code, one matrix without bias in ImageNet's."""
    if config.projector == "linear":
        head = mlp([width, config.dim], output_bias=False)
        for weight in head.parameters():
            nn.init.normal_(weight, std=0.01)  # google-research supcon/projection_head.py
        return head
    assert config.hidden is not None, "the section checks it"
    return mlp([width, config.hidden, config.dim], hidden_norm=False)
