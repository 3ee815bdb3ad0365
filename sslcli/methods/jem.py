"""JEM: a classifier whose logits are also an energy-based model of the images.

Grathwohl et al. 2020, arXiv:1912.03263. Traps: rows of the buffer are drawn without repetition, so
that each is written back once; the network's mode is restored after sampling; the network has no
BatchNorm, which would make one image's density depend on the others; the density of one image is a
vector [1], never a squeezed scalar.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from sslcli.config.methods.energy import JEMConfig
from sslcli.data.batch import Batch
from sslcli.losses.energy import (
    contrastive_divergence,
    energy_penalty,
    joint_log_density,
    log_density,
)
from sslcli.methods.base import Alarm, Output, Progress
from sslcli.methods.classifier import Classifier, labels_of, noisy, train_top1
from sslcli.methods.sampling import Sampling


def gap_alarm(*reins: str) -> Alarm:
    """Return the alarm of densities of data and of samples that part.

    Healthy runs of ours stay below 2 nats.

    Args:
        reins: What else the method has to keep them together.
    """
    return Alarm(
        metric="log_p_gap",
        bound=10.0,
        what="log p of data and of samples are {value:.4g} nats apart",
        remedies=("lower optimizer.base_lr", "take more method.sampler.steps", *reins),
        field="method.sampler",
    )


class JEM(Classifier):
    """Maximise log p(y|x) + log p(x), the latter by samples of the model (algorithm 1).

    View 1 trains the classifier and view 2 the density, each with its own recipe. Both show the
    same images, where the paper draws two batches; the expectation of each term is the same. Each
    term has a weight, so the factorisations of section 5 can be run.

    Args:
        config: Weights, sampler and buffer.
        encoder: Maps images to [B, encoder.feature_dim].
    """

    alarms = (gap_alarm("raise method.energy_penalty"),)

    def __init__(self, config: JEMConfig, encoder: nn.Module) -> None:
        super().__init__(encoder, config.num_classes)
        self.config = config
        self.sampling = Sampling(
            config.sampler,
            config.replay,
            config.num_classes,
            by_class=config.target == "class",
        )

    def forward(self, batch: Batch, progress: Progress) -> Output:
        """Return the weighted sum of the terms in nats; it has no lower bound."""
        labels = labels_of(batch)
        seen, real = (noisy(view, self.config.data_noise) for view in batch.views[:2])
        negatives = self.sampling.draw(self, real, labels, progress)
        logits = self.logits(seen)  # [B, C]
        real_logits, sample_logits = self.logits(real), self.logits(negatives.images)
        data, samples = log_density(real_logits), log_density(sample_logits)  # [B] each
        weights = self.config.weights
        loss = weights.classifier * functional.cross_entropy(logits, labels)
        loss = loss + weights.marginal * contrastive_divergence(data, samples)
        if weights.joint:
            loss = loss + weights.joint * contrastive_divergence(
                joint_log_density(real_logits, labels),
                joint_log_density(sample_logits, negatives.labels),
            )
        if self.config.energy_penalty:
            loss = loss + self.config.energy_penalty * energy_penalty(data, samples)
        metrics = {
            "train_top1": train_top1(logits, labels),
            **density_metrics(data, samples),
            **negatives.metrics,
        }
        return Output(loss, metrics, negatives.carry)

    def chains(self) -> Sampling:
        """Return the chains."""
        return self.sampling

    def after_step(self, progress: Progress, carry: Mapping[str, Tensor]) -> None:
        """Write the samples back to the buffer."""
        self.sampling.remember(carry)

    def local_state(self) -> dict[str, Tensor]:
        """Return the replay buffer."""
        return self.sampling.local_state()


def density_metrics(data: Tensor, samples: Tensor) -> dict[str, Tensor]:
    """Return mean log p of data and of samples; a gap that keeps growing is divergence."""
    means = torch.stack([data.detach().mean(), samples.detach().mean()])
    return {"data_log_p": means[0], "sample_log_p": means[1], "log_p_gap": means[0] - means[1]}
