"""AMDIM: predict the local features of one view of an image from the other view's features.

Bachman et al. 2019, arXiv:1906.00910, as the official code has it (Philip-Bachman/amdim-public).
Traps: a local feature must not see the whole image, so a padded ResNet will not do; both views have
the same flip; scores are divided by sqrt(R), penalised before the clip and kept in float32; the
other places of the own image are no negatives. The paper's mixture-based variant is not here: its
details could not be confirmed.
"""

import math

import torch
from torch import Tensor, nn

from sslcli.config.methods.local import AMDIMConfig
from sslcli.data.batch import Batch
from sslcli.data.counter import uniform
from sslcli.distributed.collective import gather_with_gradient, mean, rank
from sslcli.errors import ConfigError
from sslcli.losses.amdim import amdim_chance, amdim_contrast, clipped_cross_entropy
from sslcli.methods.base import BatchContrast, Output, Progress
from sslcli.nn.amdim import GlobalFeature
from sslcli.nn.heads import dropout_classifier

PLACES = 25  # of the 5x5 map
_STREAM = 225  # of the counter, of which nothing else draws, views above all


class AMDIM(BatchContrast):
    """Maximise the mutual information of features across views and scales (section 3).

    Each view passes the encoder by itself, as in the code. Where the data has labels, a linear and
    a two-layer classifier learn them beside from the global features of both views; these are
    detached, so that the encoder learns nothing from labels.

    Args:
        config: The loss, and the classifiers.
        encoder: One of AMDIM's, "amdim-DIM-DEPTH".

    Raises:
        ConfigError: If it is another network.
    """

    def __init__(self, config: AMDIMConfig, encoder: nn.Module) -> None:
        super().__init__()
        if not isinstance(encoder, GlobalFeature):
            what = "amdim needs local features that see a window each; in this network all see all"
            hint = 'name one of AMDIM\'s own, such as "amdim-1024-3"'
            raise ConfigError(what, "encoder.name", hint)
        self.config = config
        self.encoder: GlobalFeature = encoder
        targets = {term[-1] for term in config.terms}
        encoder.network.head_5.requires_grad_("5" in targets)
        encoder.network.head_7.requires_grad_("7" in targets)
        self.online = nn.ModuleDict()
        if config.online and config.online_classes:
            dim, online = encoder.feature_dim, config.online
            self.online["linear"] = nn.Linear(dim, config.online_classes)
            self.online["mlp"] = dropout_classifier(
                dim, online.hidden, config.online_classes, online.dropout
            )

    def embed(self, batch: Batch) -> tuple[Tensor, ...]:
        """Return r1 [B, R], r5 [B, R, 5, 5] and r7 [B, R, 7, 7] of one view, then of the other."""
        network, (first, second, *_) = self.encoder.network, batch.views
        return *network(first), *network(second)

    def compare(self, embeddings: tuple[Tensor, ...], batch: Batch, progress: Progress) -> Output:
        """Return the multi-scale loss in nats, and on top of it that of the classifiers."""
        config, start = self.config, rank() * len(batch)
        r1, r5, r7, *other = (gather_with_gradient(each) for each in embeddings)  # of N = W * B
        first, second = (r1, r5, r7), (other[0], other[1], other[2])
        picks = self.picks(batch, progress)
        loss, found = amdim_contrast(
            first, second, picks, config.clip, config.penalty, config.terms, start
        )
        metrics = {"contrast_loss": loss.detach(), "contrast_top1": found.mean()}
        chance = amdim_chance(len(r1), config.terms)
        if self.online and batch.labels is not None:
            features = torch.cat([embeddings[0], embeddings[3]]).detach()  # [2B, R]
            learned, shares = self._classified(features, batch.labels.repeat(2))
            loss, metrics = loss + learned, metrics | shares
            chance += len(self.online) * math.log(config.online_classes or 1)
        return Output(loss, metrics, embeddings=embeddings[0].detach(), chance=chance)

    @torch.compiler.disable
    def picks(self, batch: Batch, progress: Progress) -> tuple[Tensor, Tensor]:
        """Draw the place of each image's 5->5 source in either view, from 0 to 24, [B] each.

        A function of seed, step, row and view, so that neither processes nor a resume change it.
        """
        first, second = (
            uniform(progress.seed, progress.step, batch.rows, view, _STREAM, 1)[:, 0]
            for view in (0, 1)
        )
        return (first * PLACES).long(), (second * PLACES).long()

    def _classified(self, features: Tensor, labels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the sum of the classifiers' losses, and how often each is right.

        Rows without a label count in neither, over all processes.
        """
        assert self.config.online is not None, "there are classifiers"
        has_label = labels >= 0
        known = mean(has_label.sum().float())
        losses, found = [], {}
        for name, classifier in self.online.items():
            logits = classifier(features)
            clip, penalty = self.config.online.clip, self.config.online.penalty
            losses.append(clipped_cross_entropy(logits, labels, clip, penalty, known))
            right = (logits.detach().argmax(dim=1) == labels).sum()
            found[f"online_{name}_top1"] = right / known.where(known > 0, 1.0)
        return torch.stack(losses).sum(), found
