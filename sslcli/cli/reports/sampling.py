"""The report of `ssl sample-sgld`: images, tensors, figures, tables and line of results.jsonl."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from sslcli.cli.evaluation import Evaluation
from sslcli.cli.sampling_judge import Judge
from sslcli.cli.sampling_plan import Plan
from sslcli.engine.checkpoint import storable
from sslcli.evaluate.sampling import MIN_CHAINS, MIN_STEPS, settling
from sslcli.figures.samples import energy_trajectory, sample_grid
from sslcli.files import to_json, write_atomically

_METRICS = ("energy", "energy_deviation", "real_energy", "energy_drift", "energy_spread",
            "has_settled", "log_p", "probability", "own_top1", "n", "non_finite")  # fmt: skip
SHOWN = 400  # images in the grid


def metrics_of(has_judge: bool) -> tuple[str, ...]:
    """Return the names of what may be measured."""
    return (*_METRICS, "judge_top1", "judge_top1_real") if has_judge else _METRICS


@dataclass(frozen=True)
class Drawn:
    """The chains that ended in finite values; N of them.

    Attributes:
        samples: In [0, 1], [N, 3, H, W].
        energies: Of the density that was climbed, in nats, [N].
        log_p: log p(x) up to a constant, in nats, [N].
        labels: The class asked for, else the one that the model sees; -1 without classes, [N].
        climbed: The class y of a chain that climbed log p(x, y), [N]; -1 for log p(x).
        probabilities: The model's p(y|x), [N, C]; None without classes.
        trajectory: Energies before each step, [steps, N].
        non_finite: Chains that did not.
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


class Report:
    """Measure what was drawn, write it and publish the numbers.

    Args:
        evaluation: Checkpoint, data and streams.
        plan: How it was drawn.
        drawn: The samples.
        names: Classes of the model.
        real: Energies of real images; None when there are none to compare with.
    """

    def __init__(
        self,
        evaluation: Evaluation,
        plan: Plan,
        drawn: Drawn,
        names: tuple[str, ...],
        real: Tensor | None,
    ) -> None:
        self.evaluation, self.plan, self.drawn = evaluation, plan, drawn
        self.names, self.real = names, real
        self.settling = settling(drawn.trajectory, drawn.climbed)
        self._judge: dict[str, Any] | None = None
        self._judged: Tensor | None = None  # [N], numbers of the judge's classes
        self._right: Tensor | None = None  # [N], whether the judge's class is the label
        self._files: list[str] = []

    def ask(self, judge: Judge) -> None:
        """Have another classifier say which class each sample looks like."""
        if judge.checkpoint.path.samefile(self.evaluation.checkpoint.path):
            self.evaluation.listener.warn("the judge is the model itself, which says little")
        self._judged = judge.classify(self.drawn.samples, self.evaluation)
        if self.names:
            numbers = torch.tensor([judge.names.index(name) for name in self.names])
            self._right = self._judged == numbers[self.drawn.labels]
        counts = torch.bincount(self._judged, minlength=len(judge.names)).tolist()
        self._judge = {
            "checkpoint": str(judge.checkpoint.path),
            "top1_real": judge.top1(self.evaluation.splits.test, self.evaluation),
            "histogram": dict(zip(judge.names, counts, strict=True)),
        }

    def write(self, folder: Path) -> None:
        """Write the tensors, then the grid and the trajectory.

        Raises:
            ResourceError: If a file cannot be written; those before it are whole.
        """
        kind = "-class" if self.plan.classes else ""
        stem = folder / f"sgld-{self.plan.start}{kind}-seed-{self.plan.seed}"
        self._write(Path(f"{stem}.safetensors"), lambda path: path.write_bytes(self._tensors()))
        groups = self._groups()
        self._write(Path(f"{stem}.png"), lambda path: sample_grid(groups, path))
        shown, n = sum(map(len, groups.values())), len(self.drawn.samples)
        if shown < n:
            self.evaluation.listener.note(f"the grid shows {shown:,} of {n:,} images")
        if self.drawn.trajectory.numel():
            label = f"energy, -{self.plan.density} + constant (nats)"
            energies = self.drawn.trajectory
            self._write(
                Path(f"{stem}-energy.png"),
                lambda path: energy_trajectory(energies, self.real, label, path),
            )

    def publish(self) -> None:
        """Say whether chains settled, print the tables, keep the record, hold to the gates."""
        show, rows = self.evaluation.show, self.class_rows()
        show.note(f"files: {', '.join(self._files)}")
        self._say_settled()
        if rows:
            show.table("", tuple(rows[0]), [_cells(row) for row in rows])
        self.evaluation.publish(
            self.metrics(), **self.plan.facts(), per_class=rows, judge=self._judge,
            files=self._files, figures=[path for path in self._files if path.endswith(".png")],
        )  # fmt: skip

    def metrics(self) -> dict[str, Any]:
        """Return the numbers by name; None for what does not apply."""
        drawn, settling, n = self.drawn, self.settling, len(self.drawn.samples)
        own = None
        if drawn.probabilities is not None and self.plan.classes:
            own = drawn.probabilities.argmax(dim=1) == drawn.labels
        return {
            "energy": _mean(drawn.energies),
            "energy_deviation": float(drawn.energies.std()) if n > 1 else None,
            "real_energy": _mean(self.real),
            "energy_drift": settling.drift if settling else None,
            "energy_spread": settling.spread if settling else None,
            "has_settled": settling.has_settled if settling else None,
            "log_p": _mean(drawn.log_p),
            "probability": _mean(drawn.share),
            "own_top1": _mean(own),
            "judge_top1": _mean(self._right),
            "judge_top1_real": self._judge["top1_real"] if self._judge else None,
            "n": n,
            "non_finite": drawn.non_finite,
        }

    def class_rows(self) -> list[dict[str, Any]]:
        """Return a row a class that there are samples of, or that the judge sees in one."""
        judged = self._judge["histogram"] if self._judge else {}
        rows = []
        for number, name in enumerate(self.names or judged):
            is_of = self.drawn.labels == number  # of none where the model knows no classes
            n = int(is_of.sum())
            if not n and not judged.get(name):
                continue
            row: dict[str, Any] = {"class": name}
            if self.names:
                row |= {"n": n, "energy": _mean(self.drawn.energies, is_of)}
                row["probability"] = _mean(self.drawn.share, is_of)
            if self._right is not None:
                row["judge_top1"] = _mean(self._right, is_of)
            rows.append(row | ({"judged": judged[name]} if judged else {}))
        return rows

    def _say_settled(self) -> None:
        show, found = self.evaluation.show, self.settling
        if found is None:
            least = f"at least {MIN_STEPS} steps of {MIN_CHAINS} chains"
            show.note(f"to say whether chains have settled takes {least}")
        elif not found.has_settled:
            way = "fell" if found.drift < 0 else "rose"
            of = f"{abs(found.drift) / found.spread:.2g} of" if found.spread else "beyond"
            show.warn(
                f"chains have not settled: from the third quarter of the steps to the last their "
                f"energies {way} by {abs(found.drift):.3g} nats in the median, {of} the spread "
                "between chains; run more --steps"
            )

    def _groups(self) -> dict[str, Tensor]:
        """Return the images of the grid by the name of their class."""
        samples, labels = self.drawn.samples, self.drawn.labels
        present = sorted(set(labels.tolist()))
        each = max(1, SHOWN // len(present))
        names = self.names or ("",)  # which label -1 also finds
        return {names[label]: samples[labels == label][:each] for label in present}

    def _tensors(self) -> bytes:
        """Return the .safetensors file."""
        drawn = self.drawn
        tensors = {
            "samples": drawn.samples,
            "energies": drawn.energies,
            "log_p": drawn.log_p,
            "trajectory": drawn.trajectory,
        }
        if drawn.share is not None:
            tensors |= {"labels": drawn.labels, "probabilities": drawn.share}
        if self._judged is not None:
            tensors["judged"] = self._judged
        facts = {
            "checkpoint": str(self.evaluation.checkpoint.path),
            "class_names": self.names,
            "judge": self._judge,
            **self.plan.facts(),
        }
        return bytes(save(storable(tensors), {"sampling": to_json(facts)}))

    def _write(self, path: Path, write: Callable[[Path], object]) -> None:
        write_atomically(path, write)
        self._files.append(str(path))


def _mean(values: Tensor | None, which: Tensor | None = None) -> float | None:
    """Return the mean of all values, or of some; None of none."""
    if values is None:
        return None
    chosen = values if which is None else values[which]
    return float(chosen.double().mean()) if len(chosen) else None


def _cells(row: dict[str, Any]) -> list[Any]:
    return ["" if value is None else value for value in row.values()]
