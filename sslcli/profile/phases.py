"""Time the phases of a training step one by one, and the training loop that overlaps them."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from math import ceil
from statistics import median

import numpy as np
import torch

from sslcli.data.batch import Batch
from sslcli.engine.loop import Parts, Training, steps, train_step
from sslcli.errors import ConfigError
from sslcli.methods.base import Progress
from sslcli.profile.preparing import StepRows, own_loader, prepare, worker_processes

FORWARD_BACKWARD, OPTIMISER = "forward+backward", "optimiser"
NETWORK = (FORWARD_BACKWARD, OPTIMISER)
LEAST_STEPS = 3
_MOST_STEPS, _SECONDS = 30, 8.0  # bounds of a phase when no number of steps is given
_ROUNDS, _WARM_UP = 3, 2
_AHEAD = 2  # batches that torch's DataLoader lets each worker be ahead
Report = Callable[[int, int], None] | None
Seconds = dict[str, float]


@dataclass(frozen=True)
class Round:
    """The times of one round, in seconds a step.

    Attributes:
        parts: Median time of each phase by itself, in their order. Decoding and crops of streamed
            images are those of one process.
        loader: The loader alone, with its workers, while nobody trains.
        loop: The whole step in the training loop.
    """

    parts: Seconds
    loader: float
    loop: float

    @property
    def total(self) -> float:
        """Sum of the parts: a step in which nothing overlaps."""
        return sum(self.parts.values())


@dataclass(frozen=True)
class StepTimes:
    """The times of an optimiser step's phases: medians over rounds, in seconds a step.

    Attributes:
        images: Images of a step.
        steps: Steps timed of each phase.
        rounds: What was measured.
    """

    images: int
    steps: int
    rounds: tuple[Round, ...]

    @property
    def parts(self) -> Seconds:
        """Each phase by itself."""
        return _medians([each.parts for each in self.rounds])

    @property
    def total(self) -> float:
        """Sum of the parts."""
        return sum(self.parts.values())

    @property
    def loader(self) -> float:
        """The loader alone."""
        return median(each.loader for each in self.rounds)

    @property
    def loop(self) -> float:
        """The whole step in the loop."""
        return median(each.loop for each in self.rounds)

    @property
    def hidden(self) -> float:
        """Share of the sum of the parts that the loop hides; negative when it adds to it.

        It is compared within each round, since the load of a machine changes.
        """
        return 1 - median(each.loop / each.total for each in self.rounds)

    @property
    def spread(self) -> float:
        """Slowest over fastest round of the loop; 1 on an idle machine."""
        loops = [each.loop for each in self.rounds]
        return max(loops) / min(loops)

    @property
    def network(self) -> float:
        """Time of forward, backward and optimiser."""
        return sum(self.parts[name] for name in NETWORK)

    @property
    def bottleneck(self) -> str:
        """The longest part of the slower side, which is the loader or the network."""
        is_network = self.network >= self.loader
        names = [name for name in self.parts if (name in NETWORK) == is_network]
        return max(names, key=self.parts.__getitem__)


def time_phases(
    training: Training, num_steps: int | None = None, progress: Report = None
) -> StepTimes:
    """Time each phase of a step, then the loader alone, then the loop, in a few rounds.

    The training cannot be used afterwards: its weights and its step have changed.

    Args:
        training: Made by `assemble.build_training`, of one process.
        num_steps: Steps of each phase, at least 3; None for as many as 8 seconds hold, 3 to 30.
        progress: Called with (steps done, steps to do).

    Raises:
        ConfigError: If an epoch has fewer than 3 steps; overlap shows between steps.
    """
    _check(training)
    rows = StepRows(training)
    batches = prepare(training, rows(0), _Laps(training.device))
    seconds = [sum(_step(training, batches).values()) for _ in range(_WARM_UP)]
    wanted = num_steps or min(max(LEAST_STEPS, int(_SECONDS / seconds[-1])), _MOST_STEPS)
    stretch, num_rounds = _stretch(training, wanted)
    own = ceil(wanted / num_rounds)  # steps of each phase by itself, a round
    tick = _Ticks(2 * num_rounds * (own + stretch), progress)
    rounds: list[Round] = []
    for first in range(0, num_rounds * own, own):
        _settle(training, rounds)
        parts: list[Seconds] = []
        for index in range(first, first + own):
            parts.append(_prepare(training, rows(index)) | _step(training, batches))
            tick(2)
        loader = _loop_seconds(training, stretch, _pass_by, tick)
        loop = _loop_seconds(training, stretch, train_step, tick)
        rounds.append(Round(_medians(parts), loader, loop))
    return StepTimes(training.config.train.batch_size, num_rounds * own, tuple(rounds))


def _check(training: Training) -> None:
    if training.steps_per_epoch < LEAST_STEPS:
        found, images = training.steps_per_epoch, training.config.train.batch_size
        what = f"the data fills {found} of the {LEAST_STEPS} batches of {images} that timing needs"
        raise ConfigError(what, "train.batch_size", "choose a smaller one, or more data")


class _Ticks:
    """Count steps and report how many of them are done."""

    def __init__(self, to_do: int, report: Report) -> None:
        self._done, self._to_do, self._report = 0, to_do, report

    def __call__(self, count: int = 1) -> None:
        """Count some more."""
        self._done += count
        if self._report:
            self._report(self._done, self._to_do)


class _Laps:
    """A stopwatch with named laps. A GPU is waited for, so that each lap holds its own work."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.seconds: Seconds = {}
        self._since = self._now()

    def __call__(self, name: str, times: float = 1.0) -> None:
        """End a lap and add its time, multiplied by `times`, to the laps of its name."""
        now = self._now()
        self.seconds[name] = self.seconds.get(name, 0.0) + times * (now - self._since)
        self._since = now

    def _now(self) -> float:
        if self._device.type != "cpu":
            torch.accelerator.synchronize(self._device)
        return time.perf_counter()


def _prepare(training: Training, rows: np.ndarray) -> Seconds:
    """Prepare the micro-batches of a step and return how long each phase took."""
    laps = _Laps(training.device)
    prepare(training, rows, laps)
    return laps.seconds


def _step(training: Training, batches: Sequence[Batch]) -> Seconds:
    """Make a training step and return the time before and after its gradients exist.

    The loop calls the method's `before_step` between the two.
    """
    method, laps = training.method, _Laps(training.device)
    before_step = method.before_step

    def note(progress: Progress) -> None:
        laps(FORWARD_BACKWARD)
        before_step(progress)

    method.before_step = note  # type: ignore[method-assign]
    try:
        train_step(training, batches)
    finally:
        del method.before_step  # the method of the class is found again
    laps(OPTIMISER)
    return laps.seconds


def _stretch(training: Training, wanted: int) -> tuple[int, int]:
    """Return the steps in a row that a round takes in the loop, and the number of rounds.

    On the CPU the views of several batches are made at a time. A stretch takes whole groups of
    batches, or whole epochs, so that it pays for no views that it does not use.
    """
    together, epoch = _made_together(training), training.steps_per_epoch
    length = together * ceil(wanted / _ROUNDS / together)
    if together > 1 and length > epoch:
        length = epoch * ceil(wanted / _ROUNDS / epoch)
    return length, max(1, min(_ROUNDS, wanted // length))


def _loop_seconds(
    training: Training,
    num_steps: int,
    work: Callable[[Training, Parts], object],
    tick: _Ticks,
) -> float:
    """Return the time of a step in the loop, from the beginning of an epoch on.

    Workers get a head start of two steps. Batches that are made in groups need none.
    """
    training.step = training.steps_per_epoch * ceil(training.step / training.steps_per_epoch)
    stream = steps(training)
    for batches in islice(stream, _WARM_UP if worker_processes(training) else 0):
        work(training, batches)
    laps, before = _Laps(training.device), training.seen(training.step)
    for batches in islice(stream, num_steps):
        work(training, batches)
        tick()
    laps("loop")
    images = training.seen(training.step) - before
    return laps.seconds["loop"] * training.config.train.batch_size / images


def _pass_by(training: Training, batches: Parts) -> None:
    """Take a step without training."""
    deque(batches, maxlen=0)
    training.step += 1


def _settle(training: Training, rounds: Sequence[Round]) -> None:
    """Wait until the workers have finished the batches of a loop that has ended."""
    if rounds:
        ahead = _AHEAD * worker_processes(training)
        time.sleep(ahead * rounds[-1].loader / training.config.train.accumulate)


def _made_together(training: Training) -> int:
    """Return how many steps' batches the loader makes at a time."""
    loader, train = own_loader(training), training.config.train
    at_once = loader.feed.made_at_once(train.batch_size // train.accumulate)
    return ceil(min(at_once, len(loader)) / train.accumulate)


def _medians(laps: Sequence[Seconds]) -> Seconds:
    return {name: median(lap[name] for lap in laps) for name in laps[0]}
