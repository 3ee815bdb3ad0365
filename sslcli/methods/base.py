"""The contract between a method and the loop: forward, before_step, after_step."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from sslcli.data.batch import Batch
from sslcli.distributed.collective import from_all, gather
from sslcli.memory.replay import ReplayBuffer
from sslcli.nn.spread import effective_rank, embedding_std


@dataclass(frozen=True)
class Progress:
    """The position of a training in its run.

    Attributes:
        step: Optimiser steps done before this one.
        total_steps: Optimiser steps of the whole run.
        steps_per_epoch: Optimiser steps in one pass over the data.
        part: Number of the current part, where a step is made in parts.
        parts: Parts of a step; the last one of an epoch may have fewer.
        seed: Seed of the run. With the step and a sample's row it decides, through `data.counter`,
            draws that neither processes nor a resume may change.
    """

    step: int
    total_steps: int
    steps_per_epoch: int
    part: int = 0
    parts: int = 1
    seed: int = 0

    @property
    def epoch(self) -> float:
        """Passes over the data done so far, with the fraction of the current one."""
        return self.step / self.steps_per_epoch

    @property
    def fraction(self) -> float:
        """Share of the run done so far, from 0 to 1."""
        return self.step / self.total_steps

    def cosine(self, start: float, end: float) -> float:
        """Return the half-cosine from `start` at the run's first step to `end` at its end.

        With an `end` of 1 it is the momentum of BYOL's target (arXiv:2006.07733, section 3.3),
        1 - (1 - start) (cos(pi k / K) + 1) / 2 at step k of K.
        """
        return cosine(start, end, self.step, self.total_steps)


def cosine(start: float, end: float, step: int, total_steps: int) -> float:
    """Return the half-cosine from `start` at step 0 to `end` at `total_steps`, then `end`."""
    share = min(step / total_steps, 1.0) if total_steps > 0 else 1.0
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


@dataclass(frozen=True)
class Output:
    """The result of `forward`.

    Attributes:
        loss: Scalar to differentiate, float32.
        metrics: Detached scalars for the log, usually means over samples, since they are averaged
            over parts and processes like the loss. They stay on the device until logged.
        carry: Tensors that `after_step` needs from this forward: detached, float32. The parts of a
            step are joined along the first dimension.
        embeddings: Detached [B, D], from which the loop reports collapse when it logs.
        chance: The loss of a guess in nats: ln of the number of candidates, summed where the loss
            sums several terms; None for a loss without candidates. A loss that stays there is
            reported.
    """

    loss: Tensor
    metrics: Mapping[str, Tensor] = field(default_factory=dict)
    carry: Mapping[str, Tensor] = field(default_factory=dict)
    embeddings: Tensor | None = None
    chance: float | None = None

    def spread(self) -> dict[str, Tensor]:
        """Return the collapse monitors of all processes' embeddings; empty without embeddings."""
        if self.embeddings is None:
            return {}
        shared = min(from_all(len(self.embeddings)))  # a last batch need not divide evenly
        embeddings = gather(self.embeddings[:shared])
        return {
            "embedding_std": embedding_std(embeddings),
            "effective_rank": effective_rank(embeddings),
        }


@dataclass(frozen=True)
class Alarm:
    """A metric that tells of trouble when it lies far from 0.

    Attributes:
        metric: Its name in `Output.metrics`.
        bound: Distance from 0 that is worth a word; beyond `train.loss_limit` the run stops.
        what: What a large value means, with {value} where the distance goes.
        remedies: What to do, in order.
        field: The section of the config that causes it.
    """

    metric: str
    bound: float
    what: str
    remedies: tuple[str, ...]
    field: str


@dataclass(frozen=True)
class ParamGroup:
    """Named parameters that share optimiser settings.

    Attributes:
        named: Pairs of full parameter name and parameter.
        constant_lr: Keep the base rate through warm-up and schedule.
        lr_scale: Factor of the run's rate.
        decays: Whether weight decay may touch them, as far as the optimiser's config lets it.
    """

    named: list[tuple[str, nn.Parameter]]
    constant_lr: bool = False
    lr_scale: float = 1.0
    decays: bool = True


class Method(nn.Module, ABC):
    """A paper as a module that owns its networks, its loss and its memory.

    Subclasses set `encoder` (what is kept, evaluated and exported) and write `forward`. Target
    networks, queues and centres are sub-modules or buffers, so they are saved, restored and moved
    with the rest. Before the first step the loop calls `train()`, once; a method with frozen parts
    overrides that, as `LinearProbe` does.
    """

    encoder: nn.Module
    gathers = False  # whether the loss compares samples of different processes
    over_batch: tuple[str, ...] = ()  # what the loss takes over a batch that accumulation divides
    alarms: tuple[Alarm, ...] = ()  # what the loop judges a run by, besides the loss

    @abstractmethod
    def forward(self, batch: Batch, progress: Progress) -> Output:
        """Return the loss of one batch; reads memory and never writes it."""

    def before_step(self, progress: Progress) -> None:
        """Act between the backward pass and the optimiser's step, such as to freeze prototypes."""

    def after_step(self, progress: Progress, carry: Mapping[str, Tensor]) -> None:
        """Update everything that the optimiser does not: EMA targets, queues, centres."""

    def param_groups(self) -> list[ParamGroup]:
        """Return the trainable parameters in groups; one group by default."""
        return [ParamGroup(list(trainable(self)))]

    def towers(self) -> Mapping[str, nn.Module]:
        """Return the networks that evaluations can run, by the column of the data that each reads.

        A method with several returns each with what it puts behind it, such as a projection. A
        classifier stands on the tower that reads what its encoder does.
        """
        return {reads(self.encoder): self.encoder}

    def local_state(self) -> dict[str, Tensor]:
        """Return the tensors that differ between processes, such as a replay buffer."""
        return {}


@runtime_checkable
class HasProjector(Protocol):
    """A method with a projection head between its encoder and its loss."""

    @property
    def projector(self) -> nn.Module:
        """The head: linear layers with norms and activations between them, or a single layer."""


@runtime_checkable
class HasDensity(Protocol):
    """A method that learns a density of images."""

    def log_density(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return log p(x), or log p(x, y) of classes [B], up to a constant, [B].

        Args:
            images: As the network takes them, [B, 3, H, W].
            labels: Classes [B]; None for log p(x).
        """


@runtime_checkable
class Chains(Protocol):
    """The Langevin chains that a method is trained by."""

    replay: ReplayBuffer  # their ends, which later chains go on from

    @property
    def by_class(self) -> bool:
        """Whether each chain climbs log p(x, y) of a class, whose label the buffer keeps."""

    def fresh(self, labels: Tensor) -> Tensor:
        """Draw fresh starts, [B, 3, H, W], for chains of the classes [B]."""


@runtime_checkable
class HasSampler(HasDensity, Protocol):
    """A method that can be trained by samples of its density, so that more can be drawn from it.

    Its section has the fields `sampler`, `replay` and `num_classes` (`config.methods.energy`'s
    `HasChains`).
    """

    def chains(self) -> Chains | None:
        """Return the chains; None if this model is trained without."""

    def logits(self, images: Tensor) -> Tensor:
        """Return log p(x, y) of each class up to a constant, [B, C]; only called with classes."""


@runtime_checkable
class HasClassifier(Protocol):
    """A method with a classifier on its encoder, which gives logits."""

    encoder: nn.Module
    classifier: nn.Module


class BatchContrast(Method):
    """A method that tells each sample from the others of its batch.

    It is written in two parts, so that the loop can embed a large batch in chunks and still take
    the gradient of the whole (`engine.chunking`). Its section says `contrasts_batch = True`.
    """

    gathers = True
    over_batch: tuple[str, ...] = ("negatives",)

    @abstractmethod
    def embed(self, batch: Batch) -> tuple[Tensor, ...]:
        """Return embeddings, each with one row a sample.

        Samples depend on each other only through BatchNorm. It is called twice for each chunk, with
        the same noise and running statistics.
        """

    @abstractmethod
    def compare(self, embeddings: tuple[Tensor, ...], batch: Batch, progress: Progress) -> Output:
        """Return the loss of a whole batch's embeddings."""

    def forward(self, batch: Batch, progress: Progress) -> Output:
        """Return the loss of one batch, embedded at once."""
        return self.compare(self.embed(batch), batch, progress)


@runtime_checkable
class BeginsWithHead(Protocol):
    """A method whose classifier may begin with layers of a pre-training head."""

    def begin_with(self, kept: nn.Sequential) -> None:
        """Take over the weights of these layers."""


@runtime_checkable
class HasClassifiers(HasClassifier, Protocol):
    """A method that trains several classifiers side by side; the first is its `classifier`."""

    @property
    def classifiers(self) -> Mapping[str, nn.Module]:
        """Each by its name in the state dict."""


def feature_dim(encoder: nn.Module) -> int:
    """Return the size of an encoder's features."""
    assert isinstance(encoder.feature_dim, int), "encoders carry feature_dim"
    return encoder.feature_dim


def reads(encoder: nn.Module) -> str:
    """Return the column of the data that an encoder maps to features: "image" or "text"."""
    assert isinstance(encoder.reads, str), "encoders carry reads"
    return encoder.reads


def trainable(module: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Parameter]]:
    """Yield the named parameters of `module` that require a gradient."""
    for name, parameter in module.named_parameters(prefix=prefix):
        if parameter.requires_grad:
            yield name, parameter
