"""Judge a run by each row of its log: what is wrong, at which step, why it may be, what to do."""

import math
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from sslcli.config.schema import TrainConfig
from sslcli.errors import UnhealthyError

# A BatchNorm after the projection keeps embedding_std at 2 / sqrt(batch) when all samples but one
# have become the same, so a rank of hardly more than a line counts as collapse too.
COLLAPSED_STD, COLLAPSED_RANK = 0.05, 2.0
CHANCE_SHARE, CHANCE_ROWS, CHANCE_STEPS = 0.01, 5, 100
STALLED_SHARE, STALLED_ROWS = 0.3, 3
# Of an energy-based model, in nats; healthy runs of ours stay below 2. JEM's authors stop at a loss
# of 1e8, which on the way down no explosion tells.
WIDE_GAP, DIVERGED_GAP = 10.0, 1e3


class Guards:
    """Warn once of each trouble, or stop the run.

    Args:
        train: Says which troubles stop a run.
        precision: Arithmetic in use, for the advice.
        remedy: Returns what to do when the loader is slow.
        warn: Called with a line for the user.
    """

    def __init__(
        self,
        train: TrainConfig,
        precision: str,
        remedy: Callable[[], str],
        warn: Callable[[str], None],
    ) -> None:
        self._train, self._precision, self._remedy, self._warn = train, precision, remedy, warn
        self._first: float | None = None
        self._chances: deque[bool] = deque(maxlen=CHANCE_ROWS)
        self._stalls: deque[bool] = deque(maxlen=STALLED_ROWS)
        self._told: set[str] = set()

    def check(self, row: Mapping[str, Any], chance: float | None) -> None:
        """Judge one row.

        Args:
            row: What the log has written; `weights_finite` is judged, too.
            chance: Loss of a guess, in nats; see `methods.base.Output`.

        Raises:
            UnhealthyError: If the loss or a weight is not finite, the loss has exploded, data and
                samples have parted, or embeddings have collapsed and the run is to stop for that.
        """
        self._check_finite(row)
        self._check_explosion(row)
        self._check_gap(row)
        self._check_collapse(row)
        self._check_chance(row, chance)
        self._check_stall(row)

    def _check_finite(self, row: Mapping[str, Any]) -> None:
        if math.isfinite(row["loss"]) and row["weights_finite"]:
            return
        culprit = "weights" if math.isfinite(row["loss"]) else f"loss ({row['loss']})"
        what = f"the {culprit} ceased to be finite by step {row['step']}"
        raise UnhealthyError(what, "", f"{self._calmer(row)}; a state saved before is intact")

    def _check_explosion(self, row: Mapping[str, Any]) -> None:
        if self._first is None:
            self._first = row["loss"]
        if row["loss"] <= self._first + self._train.explosion * max(1.0, abs(self._first)):
            return
        what = f"the loss has exploded from {self._first:.4g} to {row['loss']:.4g} by step "
        hint = f"{self._calmer(row)}, or allow more by train.explosion"
        raise UnhealthyError(f"{what}{row['step']}", "train.explosion", hint)

    def _check_gap(self, row: Mapping[str, Any]) -> None:
        """Judge how far log p of data is from that of samples, either way."""
        gap = abs(row.get("log_p_gap", 0.0))
        if gap < WIDE_GAP:
            return
        what = f"log p of data and of samples are {gap:.4g} nats apart by step {row['step']}"
        hint = "lower optimizer.base_lr, or take more method.sampler.steps or an energy_penalty"
        if gap >= DIVERGED_GAP:
            raise UnhealthyError(f"{what}: the model has diverged", "method.sampler", hint)
        self._tell("gap", f"{what}; {hint} if it widens")

    def _calmer(self, row: Mapping[str, Any]) -> str:
        hint = f"lower optimizer.base_lr (the rate was {row['lr']:.3g}) or warm up for longer"
        return hint if self._precision == "fp32" else f"{hint}, or try --precision fp32"

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
        self._chances.append(abs(row["loss"] - chance) <= CHANCE_SHARE * chance)
        if row["step"] >= CHANCE_STEPS and len(self._chances) == CHANCE_ROWS and all(self._chances):
            what = f"the loss sits at {row['loss']:.4g}, a guess among {math.exp(chance):,.0f} "
            what += f"candidates (step {row['step']}): nothing is learnt yet"
            hint = "try another rate or temperature, weaker views, and look whether the data varies"
            self._tell("chance", f"{what}; {hint}")

    def _check_stall(self, row: Mapping[str, Any]) -> None:
        self._stalls.append(row["data_wait"] > STALLED_SHARE)
        if len(self._stalls) == STALLED_ROWS and all(self._stalls):
            what = f"{row['data_wait']:.0%} of the time up to step {row['step']} "
            self._tell("stall", f"{what}went by waiting for images; {self._remedy()}")

    def _tell(self, kind: str, text: str) -> None:
        if kind not in self._told:
            self._told.add(kind)
            self._warn(text)
