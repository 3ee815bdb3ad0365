"""The report of `ssl robust-eval`: tables, figures, line of results.jsonl, JSON and gates."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from sslcli.cli.evaluation import Evaluation
from sslcli.cli.robustness_plan import Trial, shown
from sslcli.evaluate.robust.corruptions import SEVERITIES
from sslcli.evaluate.robust.interval import LEVEL, interval_of_means, wilson
from sslcli.figures.robustness import MEAN, Curve, accuracy_curves

_LEVELS = range(1, SEVERITIES + 1)
_AXES = {"linf": ("L-inf", "radius in 1/255"), "l2": ("L2", "radius")}


class Report:
    """Turn what was measured into numbers, and publish them.

    Args:
        evaluation: Checkpoint, data and streams.
        trial: What was tried.
        protocol: How, in one line.
        right: Which images were classified rightly, [N] bool, under each condition's name.
        stuck: How many images each attack held without a gradient to go by, by its name.
    """

    def __init__(
        self,
        evaluation: Evaluation,
        trial: Trial,
        protocol: str,
        right: Mapping[str, np.ndarray],
        stuck: Mapping[str, int],
    ) -> None:
        self.evaluation, self.trial, self.protocol, self.right = evaluation, trial, protocol, right
        self.stuck = {f"top1/{name}": n / len(right["clean"]) for name, n in stuck.items()}
        self.metrics, self.intervals = self._measured()

    def publish(self) -> None:
        """Draw the figures, print the tables, keep the record, then hold to the gates."""
        figures = self._draw()
        show = self.evaluation.show
        self._warn_of_zero_gradients()
        show.note(f"figures: {', '.join(figures) or 'none'}")
        if self.trial.corruptions:
            heads = ("corruption", *(f"severity {level}" for level in _LEVELS), "mean")
            show.table("", heads, self._corruption_rows())
        self.evaluation.publish(
            self.metrics, columns=("attack", "top1", f"{LEVEL:.0%} interval", "n"),
            rows=self._attack_rows(), intervals=self.intervals, protocol=self.protocol,
            figures=figures, zero_gradient=self.stuck,
        )  # fmt: skip

    def _measured(self) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
        """Return every number under its metric's name, and its interval."""
        metrics, intervals = {}, {}
        for name, hits in self.right.items():
            metric = "/".join(["top1", *name.split("/")]).removesuffix("/clean")
            metrics[metric], intervals[metric] = float(hits.mean()), wilson(hits)
        for name, hits in self._means().items():
            metric = f"top1/{name}"
            metrics[metric], intervals[metric] = float(hits.mean()), interval_of_means(hits)
        metrics["n"] = len(self.right["clean"])
        if self.stuck:
            metrics["zero_gradient"] = max(self.stuck.values())
        return metrics, intervals

    def _means(self) -> dict[str, np.ndarray]:
        """Return hits [conditions, N] under the name of the mean over those conditions."""
        found = {
            each.name: np.stack([self.right[f"{each.name}/{level}"] for level in _LEVELS])
            for each in self.trial.corruptions
        }
        if averaged := self.trial.averaged:
            for level in _LEVELS:
                rows = [self.right[f"{name}/{level}"] for name in averaged]
                found[f"corrupted/{level}"] = np.stack(rows)
            found["corrupted"] = np.concatenate([found[name] for name in averaged])
        return found

    def _warn_of_zero_gradients(self) -> None:
        metric = max(self.stuck, key=lambda name: self.stuck[name], default="")
        if metric and self.stuck[metric]:
            attack, share = metric.removeprefix("top1/"), f"{self.stuck[metric]:.1%} of the images"
            self.evaluation.listener.warn(
                f"{share} hold against {attack} by a gradient of 0, which proves nothing; "
                "--autoattack also tries without one"
            )

    def _attack_rows(self) -> list[tuple[Any, ...]]:
        """Return a row for the clean images and for each attack."""
        spoilt = {each.name for each in self.trial.corruptions} | {"corrupted"}
        rows = []
        for metric, value in self.metrics.items():
            kind = metric.split("/")[1] if "/" in metric else metric
            if kind in spoilt or metric in ("n", "zero_gradient"):
                continue
            name = metric.removeprefix("top1").removeprefix("/") or "none"
            ends = "{:.4f}-{:.4f}".format(*self.intervals[metric])
            rows.append((name, value, ends, self.metrics["n"]))
        return rows

    def _corruption_rows(self) -> list[tuple[Any, ...]]:
        """Return a row for each corruption, and for the mean over those the authors average."""
        names = [each.name for each in self.trial.corruptions]
        names += ["corrupted"] if self.trial.averaged else []
        return [
            (
                name if name != "corrupted" else f"mean of {len(self.trial.averaged)}",
                *(self.metrics[f"top1/{name}/{level}"] for level in _LEVELS),
                self.metrics[f"top1/{name}"],
            )
            for name in names
        ]

    def _draw(self) -> list[str]:
        """Draw what there is; a disk that refuses a figure costs that figure alone."""
        spoilt = self._corruption_panels()
        figures = {
            "robust-attacks.png": (self._attack_panels(), dict(_AXES.values())),
            "robust-corruptions.png": (spoilt, dict.fromkeys(spoilt, "severity")),
        }
        drawn = []
        for name, (panels, labels) in figures.items():
            path = self.evaluation.checkpoint.run / "figures" / name
            try:
                if panels:
                    accuracy_curves(panels, labels, path)
                    drawn.append(str(path))
            except OSError as error:  # such as a checkpoint on a read-only disk
                self.evaluation.listener.warn(f"{path}: {error.strerror or error}")
        return drawn

    def _attack_panels(self) -> dict[str, dict[str, Curve]]:
        """Return accuracy against the radius: a panel a norm, a line a classifier and attack."""
        trial = self.trial
        panels: dict[str, dict[str, Curve]] = {}
        lines = {prefix: prefix.rstrip("/") or "PGD" for prefix in trial.defences()}
        lines |= {"autoattack/": "AutoAttack"} if trial.autoattack else {}
        for norm, radii in (("linf", trial.linf), ("l2", trial.l2)):
            if not radii:
                continue
            panels[_AXES[norm][0]] = {
                title: [(0.0, self._unattacked(prefix))]
                + [(each, self.metrics[f"top1/{prefix}{norm}-{shown(each)}"]) for each in radii]
                for prefix, title in lines.items()
            }
        return panels

    def _unattacked(self, prefix: str) -> float:
        return self.metrics.get(f"top1/{prefix}".rstrip("/"), self.metrics["top1"])

    def _corruption_panels(self) -> dict[str, dict[str, Curve]]:
        """Return accuracy against the severity: a panel a kind, a line a corruption."""
        panels: dict[str, dict[str, Curve]] = {}
        for each in self.trial.corruptions:
            panels.setdefault(each.kind, {})[each.name] = self._by_severity(each.name)
        if self.trial.averaged:
            for lines in panels.values():
                lines[MEAN] = self._by_severity("corrupted")
        return panels

    def _by_severity(self, name: str) -> Curve:
        levels = [(float(level), self.metrics[f"top1/{name}/{level}"]) for level in _LEVELS]
        return [(0.0, self.metrics["top1"]), *levels]
