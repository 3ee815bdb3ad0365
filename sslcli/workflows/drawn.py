"""Samples of an energy-based model, and the numbers that describe them."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor

from sslcli.evaluate.sampling import Settling, settling
from sslcli.workflows.judge import Verdict
from sslcli.workflows.sampling_plan import Plan


@dataclass(frozen=True)
class ClassRow:
    """Samples of one class; None where something was not measured.

    Attributes:
        name: The class.
        n: Samples whose label it is; None for a model without classes.
        energy: Their mean, in nats.
        probability: Mean of the model's p(class|x) on them.
        judge_top1: Share of them that the judge puts in this class.
        judged: Samples of any label that the judge puts in this class.
    """

    name: str
    n: int | None
    energy: float | None
    probability: float | None
    judge_top1: float | None
    judged: int | None

    def as_dict(self) -> dict[str, Any]:
        """Return the numbers by name, and the name as "class"."""
        fields = dict(vars(self))
        return {"class": fields.pop("name"), **fields}


@dataclass(frozen=True)
class Samples:
    """The chains that ended in finite values; N of them.

    Attributes:
        samples: In [0, 1], [N, 3, S, S].
        energies: Of the density that was climbed, in nats, [N].
        log_p: log p(x) up to a constant, in nats, [N].
        labels: The class asked for, or else the one that the model predicts, [N]; -1 for a model
            without classes.
        climbed: The class y of a chain that climbed log p(x, y), [N]; -1 for log p(x).
        probabilities: The model's p(y|x), [N, C]; None without classes.
        trajectory: Energies before each step, [steps, N].
        non_finite: Number of chains that ended in other values.
    """

    samples: Tensor
    energies: Tensor
    log_p: Tensor
    labels: Tensor
    climbed: Tensor
    probabilities: Tensor | None
    trajectory: Tensor
    non_finite: int

    @property
    def share(self) -> Tensor | None:
        """The model's p(label|x), [N]."""
        if self.probabilities is None:
            return None
        return self.probabilities.gather(1, self.labels[:, None]).squeeze(1)


@dataclass(frozen=True, kw_only=True)
class SampleResult(Samples):
    """Samples, the plan they were drawn by, and what they are compared with.

    Attributes:
        plan: The chains that were run.
        names: Classes of the model; none when it has none.
        real: Energies of training images, in nats, [R]; None when there are none to compare with.
        verdict: The classes that a judge sees in the samples; None without a judge.
        files: Paths of what was written.
    """

    plan: Plan
    names: tuple[str, ...]
    real: Tensor | None
    verdict: Verdict | None
    files: tuple[str, ...] = ()

    @cached_property
    def settling(self) -> Settling | None:
        """The movement of the chains at their end; None with too few steps or chains."""
        return settling(self.trajectory, self.climbed)

    def metrics(self) -> dict[str, float | None]:
        """Return the numbers by name; None for what was not measured."""
        found, verdict, n = self.settling, self.verdict, len(self.samples)
        own = None
        if self.probabilities is not None and self.plan.classes:
            own = self.probabilities.argmax(dim=1) == self.labels
        return {
            "energy": _mean(self.energies),
            "energy_deviation": float(self.energies.std()) if n > 1 else None,
            "real_energy": _mean(self.real),
            "energy_drift": found.drift if found else None,
            "energy_spread": found.spread if found else None,
            "has_settled": found.has_settled if found else None,
            "log_p": _mean(self.log_p),
            "probability": _mean(self.share),
            "own_top1": _mean(own),
            "judge_top1": _mean(verdict.right) if verdict else None,
            "judge_top1_real": verdict.top1_real if verdict else None,
            "n": n,
            "non_finite": self.non_finite,
        }

    def class_rows(self) -> list[ClassRow]:
        """Return a row for each class of a sample, by its label or by the judge."""
        judged = self.verdict.histogram if self.verdict else {}
        right = self.verdict.right if self.verdict else None
        rows = []
        for number, name in enumerate(self.names or judged):
            is_of = self.labels == number  # of none where the model knows no classes
            row = ClassRow(
                name,
                n=int(is_of.sum()) if self.names else None,
                energy=_mean(self.energies, is_of),
                probability=_mean(self.share, is_of),
                judge_top1=_mean(right, is_of),
                judged=judged.get(name),
            )
            if row.n or row.judged:
                rows.append(row)
        return rows


METRICS = ("energy", "energy_deviation", "real_energy", "energy_drift", "energy_spread",
           "has_settled", "log_p", "probability", "own_top1", "n", "non_finite")  # fmt: skip


def metrics_of(has_judge: bool) -> tuple[str, ...]:
    """Return the names of what may be measured."""
    return (*METRICS, "judge_top1", "judge_top1_real") if has_judge else METRICS


def _mean(values: Tensor | None, which: Tensor | None = None) -> float | None:
    """Return the mean of all values, or of those in `which`; None if there are none."""
    if values is None:
        return None
    chosen = values if which is None else values[which]
    return float(chosen.double().mean()) if len(chosen) else None
