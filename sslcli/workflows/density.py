"""The density of images that a checkpoint's method learned: log p(x), and chains that climb it."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from sslcli import assemble
from sslcli.config.methods.energy import HasChains, ReplayConfig, SamplerConfig
from sslcli.config.methods.registry import METHODS
from sslcli.config.schema import Config
from sslcli.engine.checkpoint import Checkpoint
from sslcli.engine.device import autocast
from sslcli.errors import UsageError
from sslcli.evaluate.ood.density import REFINEMENT, Density
from sslcli.evaluate.sampling import MIN_STEPS
from sslcli.listener import Bar
from sslcli.methods.base import HasDensity, HasSampler
from sslcli.methods.classifier import langevin
from sslcli.methods.custom import section_of
from sslcli.methods.registry import method_class
from sslcli.nn.spectral import dividing_once
from sslcli.perturb.sgld import Langevin, sgld
from sslcli.workflows.pictures import shown_as
from sslcli.workflows.run import Run

Start = Literal["fresh", "buffer"]
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
    if not issubclass(method_class(checkpoint.config.method.name), HasDensity):
        return None
    chains = chains_of(checkpoint.config)
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


def methods_with(*abilities: type) -> str:
    """Name the package's methods that have all these abilities, such as `HasSampler`."""
    return ", ".join(x for x in METHODS if all(issubclass(method_class(x), a) for a in abilities))


def chains_of(config: Config) -> tuple[SamplerConfig, ReplayConfig] | None:
    """Return the sampler and the buffer that a method trains with; None when it draws no images."""
    section = section_of(config)
    if isinstance(section, HasChains) and section.sampler and section.replay:
        return section.sampler, section.replay
    return None


def need_density(checkpoint: Checkpoint) -> HasChains:
    """Return the section of a checkpoint's method, if it was trained by its own samples.

    Raises:
        UsageError: If it was not.
    """
    name, section = checkpoint.config.method.name, section_of(checkpoint.config)
    if not issubclass(method_class(name), HasSampler):
        what = f"{name} learns no density of images, so none can be drawn from it"
        hint = f"train one of these: {methods_with(HasSampler)}"
        raise UsageError(what, str(checkpoint.path), hint)
    if isinstance(section, HasChains) and chains_of(checkpoint.config):
        return section
    what = f"this {name} was trained without its density term, so it draws no images"
    hint = "train it with that term's weight above 0, a method.sampler and a method.replay"
    raise UsageError(what, str(checkpoint.path), hint)


class EnergyModel:
    """An energy-based model in evaluation mode, frozen.

    Args:
        run: One whose checkpoint `need_density` takes. Chains run in its precision; energies that
            are reported are computed in float32.
    """

    def __init__(self, run: Run) -> None:
        config, settings = run.config, chains_of(run.config)
        assert settings, "need_density has seen the sampler"
        self.device, self.precision = run.device, run.precision
        self.sampler, self._buffer = langevin(settings[0]), settings[1]
        self.num_classes = need_density(run.checkpoint).num_classes
        method = assemble.load_method(run.checkpoint, run.device).requires_grad_(False)
        assert isinstance(method, HasSampler), "need_density has seen the class"
        chains = method.chains()
        assert chains, "need_density has seen the sampler"
        self.method, self.chains = method, chains
        self.batch = config.train.batch_size  # training has shown that it fits the device
        self._pixels = run.pixels

    @property
    def is_by_class(self) -> bool:
        """Whether it was trained by samples of classes, whose labels the buffer keeps."""
        return self.chains.by_class

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
        return shown_as(samples, self._pixels)

    @torch.no_grad()
    def _in_batches(self, run: Callable[[slice], Tensor], count: int) -> Tensor:
        starts = range(0, count, self.batch)
        return torch.cat([run(slice(at, at + self.batch)).float().cpu() for at in starts])

    def fresh(self, labels: Tensor) -> Tensor:
        """Draw fresh starts as training drew them, [N, 3, H, W], for chains of the classes [N]."""
        return self.chains.fresh(labels.to(self.device))

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
        replay = self.chains.replay
        rows = (replay.age > 0).nonzero().squeeze(1).cpu()
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
        return replay.images[chosen.to(self.device)], repeated

    def _classes(self, rows: Tensor) -> Tensor:
        replay, rows = self.chains.replay, rows.to(self.device)
        if self.is_by_class:
            return replay.labels[rows].cpu()
        return self.probabilities(replay.images[rows]).argmax(dim=1)

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
