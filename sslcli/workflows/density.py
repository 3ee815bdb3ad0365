"""The density of images that a checkpoint's method learned: log p(x), and chains that climb it."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from sslcli import assemble
from sslcli.config.methods.energy import (
    HDGEConfig,
    IGEBMConfig,
    JEMConfig,
    ReplayConfig,
    SamplerConfig,
)
from sslcli.config.methods.labelled import SupervisedConfig
from sslcli.config.methods.registry import SECTIONS
from sslcli.config.section import MethodSection
from sslcli.engine.checkpoint import Checkpoint
from sslcli.engine.device import autocast
from sslcli.errors import UsageError
from sslcli.evaluate.ood.density import REFINEMENT, Density
from sslcli.evaluate.sampling import MIN_STEPS
from sslcli.listener import Bar
from sslcli.methods.base import HasDensity
from sslcli.methods.classifier import langevin
from sslcli.methods.hdge import HDGE
from sslcli.methods.igebm import IGEBM
from sslcli.methods.jem import JEM
from sslcli.methods.registry import method_class
from sslcli.methods.sampling import Sampling
from sslcli.nn.spectral import dividing_once
from sslcli.perturb.sgld import Langevin, sgld
from sslcli.workflows.run import Run

Start = Literal["fresh", "buffer"]
Sampled = JEMConfig | HDGEConfig | IGEBMConfig  # sections with a sampler and a replay buffer
VISITS = 20  # of a chain that is never renewed: JEM's 1 / 0.05


class LogP(nn.Module):
    """Map normalised images [B, 3, S, S] to a method's log p(x) up to a constant, [B]."""

    def __init__(self, method: HasDensity) -> None:
        super().__init__()
        self.method = method

    def forward(self, images: Tensor) -> Tensor:
        """Return log p of each image."""
        return self.method.log_density(images)


@dataclass(frozen=True)
class ChainEnds:
    """The ends of chains.

    Attributes:
        samples: In the range that the network sees, [N, 3, H, W].
        energies: Before each step, [steps, N], of the density that was climbed.
    """

    samples: Tensor
    energies: Tensor


def refinement_of(checkpoint: Checkpoint) -> Langevin | None:
    """Return the sampler that refines images before a score; None without a density.

    It is the sampler of the training with JEM's number of steps. A method that was trained without
    samples gets JEM's sampler.
    """
    section = checkpoint.config.method
    if not issubclass(method_class(section.name), HasDensity):
        return None
    chains = chains_of(section)
    return REFINEMENT if chains is None else replace(langevin(chains[0]), steps=REFINEMENT.steps)


def density_of(checkpoint: Checkpoint, device: torch.device, seed: int) -> Density | None:
    """Return the density that a checkpoint's method learned; None when it learned none.

    Raises:
        CheckpointError: If its tensors do not fit the config it carries.
    """
    refinement = refinement_of(checkpoint)
    if refinement is None:
        return None
    method = assemble.load_method(checkpoint, device).requires_grad_(False)
    assert isinstance(method, HasDensity)
    return Density(LogP(method), refinement, seed)


def chains_of(section: MethodSection) -> tuple[SamplerConfig, ReplayConfig] | None:
    """Return the sampler and the buffer that a method trains with; None when it draws no images."""
    if isinstance(section, Sampled) and section.sampler and section.replay:
        return section.sampler, section.replay
    return None


def noise_of(section: MethodSection) -> float:
    """Return the deviation of the noise that training adds to images."""
    if isinstance(section, JEMConfig | HDGEConfig | SupervisedConfig):
        return section.data_noise
    return 0.0


def need_density(checkpoint: Checkpoint) -> None:
    """Raise UsageError unless a checkpoint's method was trained by its own samples."""
    method = checkpoint.config.method
    if chains_of(method):
        return
    if isinstance(method, Sampled):
        what = f"this {method.name} was trained without its density term, so it draws no images"
        hint = "train it with method.density_weight above 0, a method.sampler and a method.replay"
        raise UsageError(what, str(checkpoint.path), hint)
    known = [name for name, section in SECTIONS.items() if issubclass(section, Sampled)]
    what = f"{method.name} learns no density of images, so none can be drawn from it"
    hint = f"train one of these: {', '.join(known)}"
    raise UsageError(what, str(checkpoint.path), hint)


class EnergyModel:
    """An energy-based model in evaluation mode, frozen.

    Args:
        run: One whose checkpoint `need_density` takes. Chains run in its precision; energies that
            are reported are computed in float32.
    """

    def __init__(self, run: Run) -> None:
        config, chains = run.config, chains_of(run.config.method)
        assert chains, "need_density has seen the sampler"
        self.device, self.precision = run.device, run.precision
        self.sampler, self._buffer = langevin(chains[0]), chains[1]
        method = assemble.load_method(run.checkpoint, run.device).requires_grad_(False)
        assert isinstance(method, JEM | HDGE | IGEBM), "need_density has seen the section"
        self.method = method
        self.num_classes = method.config.num_classes
        self._sampling: Sampling | None = None if isinstance(method, IGEBM) else method.sampling
        owner = method if isinstance(method, IGEBM) else method.sampling
        assert owner is not None, "need_density has seen the sampler"
        self.replay = owner.replay
        self.batch = config.train.batch_size  # training has shown that it fits the device
        pixels = config.data.pixels
        self._mean, self._std = (torch.tensor(x).view(3, 1, 1) for x in (pixels.mean, pixels.std))
        # Logits are one pass for a classifier, and one a class for IGEBM.
        self._seen = self.batch if self._sampling else max(1, self.batch // (self.num_classes or 1))

    @property
    def is_by_class(self) -> bool:
        """Whether it was trained by samples of classes, whose labels the buffer keeps."""
        return self._sampling.by_class if self._sampling else self.num_classes is not None

    def default_steps(self, start: Start) -> int:
        """Return as many steps as training takes a chain, at least `MIN_STEPS`.

        From the buffer that is one visit. From a fresh start it is all the visits that a chain gets
        on average before it is renewed. Fewer than `MIN_STEPS` cannot show whether chains settle.
        """
        restart = self._buffer.restart
        visits = 1 / restart if restart else VISITS
        return max(MIN_STEPS, math.ceil(self.sampler.steps * (visits if start == "fresh" else 1)))

    def energy(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return -log p(x), or -log p(x, y), up to a constant, [N] float32 on the CPU."""
        return -self._in_batches(
            lambda rows: self._log_density(images[rows], None if labels is None else labels[rows]),
            len(images),
        )

    def probabilities(self, images: Tensor) -> Tensor:
        """Return p(y|x), [N, C] float32 on the CPU; needs classes."""
        return self._in_batches(
            lambda rows: self.method.logits(images[rows].to(self.device)).softmax(dim=1),
            len(images),
        )

    def to_pixels(self, samples: Tensor) -> Tensor:
        """Return images in the network's range as images in [0, 1], clipped."""
        return (samples * self._std + self._mean).clamp(0, 1)

    @torch.no_grad()
    def _in_batches(self, run: Callable[[slice], Tensor], count: int) -> Tensor:
        starts = range(0, count, self._seen)
        return torch.cat([run(slice(at, at + self._seen)).float().cpu() for at in starts])

    def fresh(self, labels: Tensor) -> Tensor:
        """Draw fresh starts as training drew them, [N, 3, H, W], for chains of the classes [N]."""
        if not isinstance(self.method, IGEBM):
            assert self.method.sampling
            return self.method.sampling.fresh(labels.to(self.device))
        shape = (len(labels), *self.replay.images.shape[1:])
        low, high = self.method.config.replay.range
        return torch.empty(shape, device=self.device).uniform_(low, high)

    def recalled(self, labels: Tensor) -> tuple[Tensor, int]:
        """Draw starts from the buffer.

        If the model was trained by samples of p(x), the labels in its buffer mean nothing; the
        class of an image is then the one that the model predicts.

        Args:
            labels: The class that each start must be of, [N]; -1 for any.

        Returns:
            Starts [N, 3, H, W], and how many of them repeat another.

        Raises:
            UsageError: If the buffer holds nothing, or nothing of a class.
        """
        rows = (self.replay.age > 0).nonzero().squeeze(1).cpu()
        if not len(rows):
            raise UsageError("the buffer holds no image yet", "start", "use `start` fresh")
        wanted = sorted(set(labels.tolist()))
        classes = torch.full_like(rows, -1) if wanted == [-1] else self._classes(rows)
        chosen, repeated = torch.empty_like(labels), 0
        for label in wanted:
            own, places = rows[classes == label], labels == label
            if not len(own):
                hint = "use `start` fresh"
                raise UsageError(f"the buffer holds no image of class {label}", "start", hint)
            count = int(places.sum())
            chosen[places] = _shuffled(own, count)
            repeated += max(0, count - len(own))
        return self.replay.images[chosen.to(self.device)], repeated

    def _classes(self, rows: Tensor) -> Tensor:
        if self.is_by_class:
            return self.replay.labels[rows.to(self.device)].cpu()
        return self.probabilities(self.replay.images[rows.to(self.device)]).argmax(dim=1)

    def run(self, starts: Tensor, labels: Tensor | None, settings: Langevin, bar: Bar) -> ChainEnds:
        """Run a chain from each start, in batches of the training's size.

        Args:
            starts: [N, 3, H, W].
            labels: Climb log p(x, y) of these classes [N]; None climbs log p(x).
            settings: The sampler.
            bar: Told of steps done and to do, over all batches.
        """
        pieces = range(0, len(starts), self.batch)
        chains = []
        for index, at in enumerate(pieces):
            own = slice(at, at + self.batch)
            climbed = partial(self._log_density, labels=None if labels is None else labels[own])
            tell = partial(_tell, bar, index, len(pieces), settings.steps)
            with dividing_once(self.method), autocast(self.device, self.precision):
                chains.append(sgld(climbed, starts[own], settings, after_step=tell))
        return ChainEnds(
            torch.cat([chain.samples.cpu() for chain in chains]),
            torch.cat([-chain.log_density.cpu() for chain in chains], dim=1),
        )

    def _log_density(self, images: Tensor, labels: Tensor | None) -> Tensor:
        labels = None if labels is None else labels.to(self.device)
        log_density: Tensor = self.method.log_density(images.to(self.device), labels)
        return log_density


def _tell(bar: Bar, batch: int, batches: int, steps: int, step: int) -> None:
    """Tell how many steps of all batches are done, from those of one batch."""
    bar(batch * steps + step, batches * steps)


def _shuffled(rows: Tensor, count: int) -> Tensor:
    """Draw `count` rows, every one before any comes again."""
    rounds = math.ceil(count / len(rows))
    order = torch.cat([torch.randperm(len(rows)) for _ in range(rounds)])
    return rows[order[:count]]
