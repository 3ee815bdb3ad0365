"""IGEBM: an energy-based model of images, with or without classes, trained by short chains.

Du & Mordatch 2019, arXiv:1903.08689. Traps: the network's output is the energy, low on data; noise
goes in before the gradient; the buffer keeps the label of each chain; a share `relabel` of the
recycled chains continues under the batch's classes, and only these teach the energies to tell
classes apart; spectral norms advance once a step, not once a call.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sslcli.config.methods.energy import IGEBMConfig
from sslcli.data.batch import Batch
from sslcli.errors import ConfigError
from sslcli.losses.energy import contrastive_divergence, energy_penalty
from sslcli.losses.precision import at_least_float32
from sslcli.memory.replay import ReplayBuffer
from sslcli.methods.base import Method, Output, Progress, feature_dim
from sslcli.methods.classifier import labels_of, langevin
from sslcli.methods.jem import density_metrics, gap_alarm
from sslcli.methods.sampling import check_rows, check_size
from sslcli.nn.energy_resnet import EnergyResNet
from sslcli.nn.gradient_clamp import GradientClamp
from sslcli.nn.modes import evaluating
from sslcli.nn.spectral import advance_spectral_norms, dividing_once
from sslcli.perturb.sgld import Chain, sgld

LEVELS = 256


class IGEBM(Method):
    """Lower the energy of data and raise that of samples (algorithm 1).

    Args:
        config: Sampler, buffer and regularisation.
        encoder: Maps images to [B, encoder.feature_dim]; an `EnergyResNet` if there are classes.

    Raises:
        ConfigError: If classes are asked of another encoder.
    """

    alarms = (gap_alarm("raise method.energy_penalty"),)

    def __init__(self, config: IGEBMConfig, encoder: nn.Module) -> None:
        super().__init__()
        self.config = config
        self.encoder = encoder
        self.affine: nn.Module | None = None
        if isinstance(encoder, EnergyResNet):
            self.head = encoder.energy_head()
        else:
            self.head = nn.Linear(feature_dim(encoder), 1)
        if config.num_classes is not None:
            if not isinstance(encoder, EnergyResNet):
                what = "an energy with classes needs a network with a gain and bias a class"
                raise ConfigError(what, "encoder.name", "use igebm-small or igebm-large")
            self.affine = encoder.class_affine(config.num_classes)
        size = config.replay.image_size
        self.replay = ReplayBuffer(config.replay.size, (3, size, size))
        self.settings = langevin(config.sampler)
        self.clamp: GradientClamp | None = None
        if config.gradient_clamp:
            self.clamp = GradientClamp(
                list(self.parameters()), **config.gradient_clamp.model_dump()
            )

    def log_density(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return minus the energy, [B]; without labels, of the likeliest class.

        Args:
            images: In [0, 1], [B, 3, H, W].
            labels: Classes [B]; not used by a model without classes.
        """
        if self.affine is None:
            features = self.encoder(images)
        elif labels is None:
            with torch.no_grad():  # its gradient is that of the class with the maximum
                likeliest = self.logits(images).argmax(dim=1)
            return self.log_density(images, likeliest)
        else:
            features = self.encoder(images, self.affine(labels))
        return -at_least_float32(self.head(features)).squeeze(1)

    def logits(self, images: Tensor) -> Tensor:
        """Return minus the energy of each image in each class, [B, C]; needs classes."""
        assert self.config.num_classes is not None, "a model without classes has no logits"
        classes = torch.arange(self.config.num_classes, device=images.device)
        rows = [self.log_density(images, label.expand(len(images))) for label in classes]
        return torch.stack(rows, dim=1)

    @property
    def by_class(self) -> bool:
        """Whether chains climb the density of a class."""
        return self.config.num_classes is not None

    def chains(self) -> "IGEBM":
        """Return the model, which keeps its buffer itself."""
        return self

    def fresh(self, labels: Tensor) -> Tensor:
        """Draw fresh starts, [B, 3, H, W]; of every class alike."""
        shape = (len(labels), *self.replay.images.shape[1:])
        return torch.empty(shape, device=labels.device).uniform_(*self.config.replay.range)

    def forward(self, batch: Batch, progress: Progress) -> Output:
        """Return the difference of energies and its regularisation; 0 for equal energies of 0."""
        config, real = self.config, batch.views[0]
        check_size(real, config.replay)
        check_rows(len(real) * progress.parts, len(self.replay))
        if config.dequantize:
            real = dequantized(real)
        labels = None
        if config.num_classes is not None:
            labels = labels_of(batch)
        classes = torch.zeros_like(batch.rows) if labels is None else labels
        starts, sample_labels = self._starts(classes)
        with evaluating(self), dividing_once(self):
            chain = sgld(
                lambda x: self.log_density(x, sample_labels),
                starts,
                self.settings,
                differentiable=config.kl_weight > 0,
            )
        images = chain.samples.detach()
        data, samples = self.log_density(real, labels), self.log_density(images, sample_labels)
        loss = contrastive_divergence(data, samples)
        if config.energy_penalty:
            loss = loss + config.energy_penalty * energy_penalty(data, samples)
        if config.kl_weight:
            loss = loss + config.kl_weight * self._kl(chain, sample_labels)
        metrics = density_metrics(data, samples)
        metrics |= {"sample_gradient": chain.gradient_norm}
        return Output(loss, metrics, {"samples": images, "labels": sample_labels})

    def _starts(self, classes: Tensor) -> tuple[Tensor, Tensor]:
        """Return the starts of chains, [B, 3, H, W], and their classes, [B].

        Args:
            classes: Those of fresh chains and of the relabelled, [B].
        """
        replay, config = self.replay, self.config.replay
        count, device = len(classes), classes.device
        rows = replay.past_rows(count)
        renewed = torch.rand(count, device=device) < config.restart
        is_fresh = renewed | ((replay.age > 0).sum() <= count)  # nothing to recycle yet
        starts = torch.where(
            is_fresh[:, None, None, None], self.fresh(classes), replay.images[rows]
        )
        is_new = is_fresh
        if self.config.relabel:
            is_new = is_fresh | (torch.rand(count, device=device) < self.config.relabel)
        return starts, torch.where(is_new, classes, replay.labels[rows])

    def _kl(self, chain: Chain, labels: Tensor) -> Tensor:
        """Return the mean energy at the chains' ends, with a gradient through the chains only.

        Du et al. 2020, arXiv:2012.01316, eq. 7: the weights of the last energy are frozen, those in
        the steps of the chain are not.
        """
        ends = chain.samples.detach().requires_grad_()
        energy = -self.log_density(ends, labels).mean()
        (slope,) = torch.autograd.grad(energy, ends)
        along = (slope * chain.samples).sum()  # its gradient is the frozen energy's
        return energy.detach() + along - along.detach()

    def before_step(self, progress: Progress) -> None:
        """Bound each element of the gradients."""
        if self.clamp is not None:
            self.clamp(list(self.parameters()))

    def after_step(self, progress: Progress, carry: Mapping[str, Tensor]) -> None:
        """Keep the samples, and follow the weights with the spectral norms."""
        self.replay.push(carry["samples"], carry["labels"])
        advance_spectral_norms(self)

    def local_state(self) -> dict[str, Tensor]:
        """Return the replay buffer."""
        return dict(self.replay.named_buffers(prefix="replay"))


def dequantized(images: Tensor) -> Tensor:
    """Make k / 255 a uniform draw from level k's share of [0, 1], (k + U(0, 1)) / 256."""
    return (images * (LEVELS - 1) + torch.rand_like(images)) / LEVELS
