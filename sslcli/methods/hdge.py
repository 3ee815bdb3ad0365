"""HDGE: cross-entropy, and contrast with other images at the image's own class.

Liu & Abbeel 2020, arXiv:2007.09070. Traps: the negative sum runs over other images at one class,
not over other classes; the authors' code sums a masked product over classes, which is another score
(`losses.energy.hdge`); empty rows of the queue must not count.
"""

import math
from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional

from sslcli.config.methods.energy import HDGEConfig
from sslcli.data.batch import Batch
from sslcli.distributed.collective import gather
from sslcli.losses.energy import contrastive_divergence, hdge, log_density
from sslcli.memory.queue import Queue
from sslcli.methods.base import Output, Progress
from sslcli.methods.classifier import Classifier, labels_of, noisy, train_top1
from sslcli.methods.jem import density_metrics, gap_alarm
from sslcli.methods.sampling import Sampling


class HDGE(Classifier):
    """Approximate log q(x|y) by telling an image from a queue of others (section 3).

    One pass through the encoder serves both terms. With `density_weight` JEM's log q(x) is added,
    as the paper does to generate; its chains start from the same views.

    Args:
        config: Weights, queue and score.
        encoder: Maps images to [B, encoder.feature_dim].
    """

    gathers = True
    alarms = (gap_alarm("lower method.density_weight"),)

    def __init__(self, config: HDGEConfig, encoder: nn.Module) -> None:
        super().__init__(encoder, config.num_classes)
        self.config = config
        self.queue = Queue(config.queue_size, config.num_classes)
        self.sampling: Sampling | None = None
        if config.sampler and config.replay:
            self.sampling = Sampling(
                config.sampler, config.replay, config.num_classes, by_class=False
            )

    def forward(self, batch: Batch, progress: Progress) -> Output:
        """Return the weighted sum of the terms in nats."""
        config, labels = self.config, labels_of(batch)
        images = noisy(batch.views[0], config.data_noise)
        logits = self.logits(images)  # [B, C]
        contrast = hdge(
            logits, labels, self.queue.rows, config.temperature, config.score, self.queue.held
        )
        classifier = functional.cross_entropy(logits, labels)
        loss = config.classifier_weight * classifier + config.contrast_weight * contrast
        metrics = {"train_top1": train_top1(logits, labels), "contrast": contrast.detach()}
        carry = {"logits": logits.detach()}
        if self.sampling is not None:
            negatives = self.sampling.draw(self, images, labels, progress)
            data, samples = log_density(logits), self.log_density(negatives.images)
            loss = loss + config.density_weight * contrastive_divergence(data, samples)
            metrics |= density_metrics(data, samples) | negatives.metrics
            carry |= negatives.carry
        return Output(loss, metrics, carry, chance=self._chance())

    def _chance(self) -> float | None:
        """Return the loss of a guess; None with a density term, for which there is none."""
        if self.sampling is not None:
            return None
        config = self.config
        classifier = config.classifier_weight * math.log(config.num_classes)
        return classifier + config.contrast_weight * math.log(config.queue_size + 1)

    def chains(self) -> Sampling | None:
        """Return the chains; None without a density term."""
        return self.sampling

    def after_step(self, progress: Progress, carry: Mapping[str, Tensor]) -> None:
        """Push the logits of all processes, and write samples back."""
        self.queue.push(gather(carry["logits"]))
        if self.sampling is not None:
            self.sampling.remember(carry)

    def local_state(self) -> dict[str, Tensor]:
        """Return the replay buffer, if there is one."""
        return {} if self.sampling is None else self.sampling.local_state()
