"""A checkpoint's method as the density that chains climb, and where it lets them start."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, cast

import torch
from torch import Tensor

from sslcli import assemble
from sslcli.cli.evaluation import Evaluation
from sslcli.config.methods.energy import ReplayConfig, SamplerConfig
from sslcli.config.methods.registry import SECTIONS
from sslcli.engine.checkpoint import Checkpoint
from sslcli.engine.device import autocast
from sslcli.errors import UsageError
from sslcli.evaluate.sampling import MIN_STEPS
from sslcli.memory.replay import ReplayBuffer
from sslcli.methods.sampling import Sampling
from sslcli.nn.spectral import dividing_once
from sslcli.perturb.sgld import Langevin, sgld

Start = Literal["fresh", "buffer"]
Watch = Callable[[int, int], object]
VISITS = 20  # of a chain that is never renewed: JEM's 1 / 0.05


@dataclass(frozen=True)
class Ends:
    """Where chains ended.

    Attributes:
        samples: In the range that the network sees, [N, 3, H, W].
        energies: Before each step, [steps, N], of the density that was climbed.
    """

    samples: Tensor
    energies: Tensor


def need_density(checkpoint: Checkpoint) -> None:
    """Raise UsageError unless a checkpoint's method was trained by its own samples."""
    method = checkpoint.config.method
    if isinstance(getattr(method, "sampler", None), SamplerConfig):
        return
    if "sampler" in type(method).model_fields:
        what = f"this {method.name} was trained without its density term, so it draws no images"
        hint = "train it with method.density_weight above 0, a method.sampler and a method.replay"
        raise UsageError(what, str(checkpoint.path), hint)
    known = [name for name, section in SECTIONS.items() if "sampler" in section.model_fields]
    what = f"{method.name} learns no density of images, so none can be drawn from it"
    hint = f"train one of these: {', '.join(known)}"
    raise UsageError(what, str(checkpoint.path), hint)


class Density:
    """An energy-based model in evaluation mode, frozen.

    Args:
        evaluation: A checkpoint that `need_density` takes, device, and the precision of chains;
            energies that are reported are computed in float32.
    """

    def __init__(self, evaluation: Evaluation) -> None:
        config, section = evaluation.config, cast(Any, evaluation.checkpoint.config.method)
        self.device, self.precision = evaluation.device, evaluation.precision
        self.method: Any = assemble.load_method(evaluation.checkpoint, self.device).requires_grad_(
            False
        )
        self.num_classes: int | None = section.num_classes
        self.range: tuple[float, float] = section.replay.range
        self.batch = config.train.batch_size  # training has shown that it fits the device
        self._mean, self._std = (
            torch.tensor(x).view(3, 1, 1) for x in (config.data.mean, config.data.std)
        )
        self._sampling: Sampling | None = getattr(self.method, "sampling", None)
        owner: Any = self._sampling or self.method
        self.replay: ReplayBuffer = owner.replay
        # Logits are one pass for a classifier, and one a class for IGEBM.
        self._seen = self.batch if self._sampling else max(1, self.batch // (self.num_classes or 1))

    @property
    def is_by_class(self) -> bool:
        """Whether it was trained by samples of classes, whose labels the buffer keeps."""
        return self._sampling.by_class if self._sampling else self.num_classes is not None

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
        """Draw starts as training drew fresh ones, of the classes [N] where it knew classes."""
        if self._sampling:
            return self._sampling.fresh(labels.to(self.device))
        shape = (len(labels), *self.replay.images.shape[1:])
        return torch.empty(shape, device=self.device).uniform_(*self.range)

    def recalled(self, labels: Tensor) -> tuple[Tensor, int]:
        """Draw starts from the buffer.

        Where the model was trained by samples of p(x), the labels in its buffer mean nothing, and
        the class of an image is the one that the model itself sees in it.

        Args:
            labels: The class that each start must be of, [N]; -1 for any.

        Returns:
            Starts [N, 3, H, W], and how many of them repeat another.

        Raises:
            UsageError: If the buffer holds nothing, or nothing of a class.
        """
        rows = (self.replay.age > 0).nonzero().squeeze(1).cpu()
        if not len(rows):
            raise UsageError("the buffer holds no image yet", "--start", "use --start fresh")
        wanted = sorted(set(labels.tolist()))
        classes = torch.full_like(rows, -1) if wanted == [-1] else self._classes(rows)
        chosen, repeated = torch.empty_like(labels), 0
        for label in wanted:
            own, places = rows[classes == label], labels == label
            if not len(own):
                hint = "use --start fresh"
                raise UsageError(f"the buffer holds no image of class {label}", "--start", hint)
            count = int(places.sum())
            chosen[places] = _shuffled(own, count)
            repeated += max(0, count - len(own))
        return self.replay.images[chosen.to(self.device)], repeated

    def _classes(self, rows: Tensor) -> Tensor:
        if self.is_by_class:
            return self.replay.labels[rows.to(self.device)].cpu()
        return self.probabilities(self.replay.images[rows.to(self.device)]).argmax(dim=1)

    def run(self, starts: Tensor, labels: Tensor | None, settings: Langevin, watch: Watch) -> Ends:
        """Run a chain from each start, as many at a time as training had.

        Args:
            starts: [N, 3, H, W].
            labels: Climb log p(x, y) of these classes [N]; None climbs log p(x).
            settings: The sampler.
            watch: Called with steps done and to do, over all batches.
        """
        pieces = range(0, len(starts), self.batch)
        chains = []
        for index, at in enumerate(pieces):
            own = slice(at, at + self.batch)
            climbed = partial(self._log_density, labels=None if labels is None else labels[own])
            tell = partial(_tell, watch, index, len(pieces), settings.steps)
            with dividing_once(self.method), autocast(self.device, self.precision):
                chains.append(sgld(climbed, starts[own], settings, after_step=tell))
        return Ends(
            torch.cat([chain.samples.cpu() for chain in chains]),
            torch.cat([-chain.log_density.cpu() for chain in chains], dim=1),
        )

    def _log_density(self, images: Tensor, labels: Tensor | None) -> Tensor:
        labels = None if labels is None else labels.to(self.device)
        log_density: Tensor = self.method.log_density(images.to(self.device), labels)
        return log_density


def _tell(watch: Watch, batch: int, batches: int, steps: int, step: int) -> None:
    """Tell how many steps of all batches are done, from those of one batch."""
    watch(batch * steps + step, batches * steps)


def default_steps(sampler: SamplerConfig, replay: ReplayConfig, start: Start) -> int:
    """Return how far training takes a chain: one visit on, or from a fresh start to its last.

    No fewer than show whether chains have settled.
    """
    visits = 1 / replay.restart if replay.restart else VISITS
    return max(MIN_STEPS, math.ceil(sampler.steps * (visits if start == "fresh" else 1)))


def _shuffled(rows: Tensor, count: int) -> Tensor:
    """Draw `count` rows, every one before any comes again."""
    rounds = math.ceil(count / len(rows))
    order = torch.cat([torch.randperm(len(rows)) for _ in range(rounds)])
    return rows[order[:count]]
