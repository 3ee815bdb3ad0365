"""Judge a run by each row of its log, and name the trouble, its step, its cause and the remedy."""

import math
from bisect import insort
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from sslcli.config.schema import Config
from sslcli.errors import UnhealthyError
from sslcli.methods.base import Alarm

# A BatchNorm after the projection keeps embedding_std at 2 / sqrt(batch) when all samples but one
# have become the same, so a rank of hardly more than a line counts as collapse too.
COLLAPSED_STD, COLLAPSED_RANK = 0.05, 2.0
CHANCE_SHARE, CHANCE_ROWS, CHANCE_STEPS = 0.01, 5, 100
STALLED_SHARE, STALLED_ROWS = 0.3, 3
# Momentum of 0.9 carries a loss up for some ten steps when the rate is high, as that of a linear
# probe is (MoCo's is 30): from 1.4 to 1,862 and back below the first loss within 20 steps.
START_STEPS = 20


class Guards:
    """Warn once of each trouble, or stop the run.

    Args:
        config: Says which troubles stop a run.
        precision: Arithmetic in use, for the advice.
        remedy: Returns what to do when the loader is slow.
        warn: Called with a line for the user.
        history: Rows that the run has logged before.
        alarms: What the method wants to be judged by.
    """

    def __init__(
        self,
        config: Config,
        precision: str,
        remedy: Callable[[], str],
        warn: Callable[[str], None],
        history: Iterable[Mapping[str, Any]] = (),
        alarms: Iterable[Alarm] = (),
    ) -> None:
        self._train, self._alarms = config.train, tuple(alarms)
        self._precision, self._remedy, self._warn = precision, remedy, warn
        self._level = Level(config.train.explosion)
        self._losses: deque[float] = deque(maxlen=CHANCE_ROWS)
        self._waits: deque[float] = deque(maxlen=STALLED_ROWS)
        self._told: set[str] = set()
        for row in history:
            self._take(row)

    def check(self, row: Mapping[str, Any], chance: float | None) -> None:
        """Judge one row.

        Args:
            row: What the log has written; `weights_finite` is judged, too.
            chance: Loss of a guess, in nats; see `methods.base.Output`.

        Raises:
            UnhealthyError: If the loss or a weight is not finite, the loss has exploded, a metric
                lies far beyond its alarm, or embeddings have collapsed and the run is to stop then.
        """
        self._check_finite(row)
        is_sound = self._take(row)
        self._check_alarms(row)
        self._check_explosion(row, is_sound)
        self._check_collapse(row)
        self._check_chance(row, chance)
        self._check_stall(row)

    def _take(self, row: Mapping[str, Any]) -> bool:
        """Remember a row, and tell whether its loss is in the range of the run's losses."""
        self._losses.append(row["loss"])
        self._waits.append(row["data_wait"])
        return self._level.take(row["step"], row["loss"])

    def _check_finite(self, row: Mapping[str, Any]) -> None:
        if math.isfinite(row["loss"]) and row["weights_finite"]:
            return
        culprit = (
            "weights, or what is saved with them,"
            if math.isfinite(row["loss"])
            else f"loss ({row['loss']})"
        )
        what = f"the {culprit} ceased to be finite by step {row['step']}"
        raise UnhealthyError(what, "", f"{self._calmer(row)}; a state saved before is intact")

    def _check_explosion(self, row: Mapping[str, Any], is_sound: bool) -> None:
        is_within = abs(row["loss"]) <= self._train.loss_limit
        if is_sound and is_within:
            return
        field = "train.explosion" if is_within else "train.loss_limit"
        since = f" from {self._level.height:.4g}" if is_within else ""
        what = f"the loss has exploded{since} to {row['loss']:.4g} by step {row['step']}"
        raise UnhealthyError(what, field, f"{self._calmer(row)}, or allow more by {field}")

    def _check_alarms(self, row: Mapping[str, Any]) -> None:
        """Judge how far each metric that the method names is from 0, either way."""
        for alarm in self._alarms:
            value = abs(row.get(alarm.metric, 0.0))
            if value < alarm.bound:
                continue
            what = f"{alarm.what.format(value=value)} by step {row['step']}"
            hint = ", ".join(alarm.remedies)
            if value > self._train.loss_limit:
                raise UnhealthyError(f"{what}: the model has diverged", alarm.field, hint)
            self._tell(alarm.metric, f"{what}; {hint} if it widens")

    def _calmer(self, row: Mapping[str, Any]) -> str:
        hint = f"lower optimizer.base_lr (the rate was {row['lr']:.3g}) or lengthen schedule.warmup"
        return hint if self._precision == "fp32" else f"{hint}, or try `precision` fp32"

    def _check_collapse(self, row: Mapping[str, Any]) -> None:
        std, effective = row.get("embedding_std"), row.get("effective_rank")
        if std is None or effective is None:
            return
        if std >= COLLAPSED_STD and effective >= COLLAPSED_RANK:
            return
        monitors = f"embedding_std {std:.4f}, effective_rank {effective:.2f}"
        what = f"the embeddings have collapsed to a point or a line ({monitors})"
        hint = "check the stop-gradient, predictor, rate and weight decay, or use more steps"
        if self._train.on_collapse == "stop":
            raise UnhealthyError(f"{what} at step {row['step']}", "train.on_collapse", hint)
        self._tell("collapse", f"{what} at step {row['step']}; {hint}")

    def _check_chance(self, row: Mapping[str, Any], chance: float | None) -> None:
        if chance is None:
            return
        is_there = all(abs(loss - chance) <= CHANCE_SHARE * chance for loss in self._losses)
        if row["step"] >= CHANCE_STEPS and len(self._losses) == CHANCE_ROWS and is_there:
            what = f"the loss sits at {row['loss']:.4g} (step {row['step']}), and a guess costs "
            what += f"{chance:.4g}: nothing is learnt yet"
            hint = "try another rate or temperature, weaker views, and look whether the data varies"
            self._tell("chance", f"{what}; {hint}")

    def _check_stall(self, row: Mapping[str, Any]) -> None:
        if len(self._waits) == STALLED_ROWS and min(self._waits) > STALLED_SHARE:
            what = f"{row['data_wait']:.0%} of the time up to step {row['step']} "
            self._tell("stall", f"{what}went by waiting for batches; {self._remedy()}")

    def _tell(self, kind: str, text: str) -> None:
        if kind not in self._told:
            self._told.add(kind)
            self._warn(text)


class Level:
    """The usual height of a run's losses, and how far above it a loss may lie.

    A high start is no explosion. In the first steps the loss may rise without limit; after them the
    limit falls by half every `START_STEPS`.

    Args:
        explosion: See `TrainConfig`.
    """

    def __init__(self, explosion: float) -> None:
        self._explosion = explosion
        self._first = self._peak = -math.inf
        self._sound: list[float] = []  # sorted

    @property
    def height(self) -> float:
        """The first loss, or the median of all sound ones where that is higher."""
        return max(self._first, self._sound[len(self._sound) // 2])

    def take(self, step: int, loss: float) -> bool:
        """Add the loss of the steps up to this one, and tell whether it is sound."""
        if not self._sound:
            self._first = loss
        if not self._sound or loss <= self._bound():
            insort(self._sound, loss)
            self._peak = -math.inf
            return True
        if step <= START_STEPS:
            self._peak = max(self._peak, loss)
            return True
        return loss < self._peak * math.exp2(1 - step / START_STEPS)

    def _bound(self) -> float:
        if not self._explosion:
            return math.inf
        return self.height + self._explosion * max(1.0, abs(self.height))
