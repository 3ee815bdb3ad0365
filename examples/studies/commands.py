"""What studies share: work that is done once and goes on where it stopped, and figures."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.axes import Axes

import sslcli
from sslcli.files import to_json, write_atomically
from sslcli.listener import Quiet

ACCURACY = "online_knn_top1"
Found = Mapping[str, list[float]]  # by measure, one value a seed


class Talk(Quiet):
    """Tells on stderr what a study does, but for progress."""

    def note(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def warn(self, text: str) -> None:
        print(f"warning: {text}", file=sys.stderr, flush=True)


TALK = Talk()


def pretrain(
    run: Path,
    preset: str,
    data: str | None = None,
    changes: Sequence[str] = (),
    init: Path | None = None,
) -> None:
    """Train a run, or go on with it; one that is finished ends at once.

    Args:
        run: The run directory; what is there without a saved state is replaced.
        preset: A preset's name.
        data: The data set, when not the preset's.
        changes: Overrides, as texts.
        init: A run whose weights are the start.
    """
    if (run / "state").is_dir():
        sslcli.pretrain(out=run, resume=True, listener=TALK)
    else:
        sslcli.pretrain(
            preset=preset, data=data, out=run, overwrite=True, overrides=changes, init=init,
            listener=TALK,
        )  # fmt: skip


def measured(run: Path, name: str, measure: Callable[[Path], Mapping[str, Any]]) -> dict:
    """Return what was measured of a run, from the last time if it was done.

    Args:
        run: The run directory.
        name: What to call this evaluation.
        measure: Takes the run directory; returns numbers by name.
    """
    kept = run / f"study-{name}.json"
    if not kept.is_file():
        content = to_json({"metrics": measure(run)})
        write_atomically(kept, lambda part: part.write_text(content))
    return json.loads(kept.read_text())["metrics"]


def at_a_time(jobs: int) -> ProcessPoolExecutor:
    """Return a pool of so many processes; each trains in its main thread, which hears signals."""
    return ProcessPoolExecutor(jobs, mp_context=get_context("spawn"))


def knn(run: Path, name: str = "knn", **options: Any) -> dict:
    """Return what kNN says of a run; the options are `sslcli.knn_eval`'s."""
    return measured(run, name, lambda run: sslcli.knn_eval(run, **options, listener=TALK).as_dict())


def linear(run: Path, **options: Any) -> dict:
    """Return what a linear probe says of a run; the options are `sslcli.linear_eval`'s."""
    return measured(
        run, "linear", lambda run: sslcli.linear_eval(run, **options, listener=TALK).as_dict()
    )


def sts(run: Path, name: str = "sts", **options: Any) -> dict:
    """Return what pairs of sentences say of a run; the options are `sslcli.sts_eval`'s."""
    return measured(run, name, lambda run: sslcli.sts_eval(run, **options, listener=TALK).as_dict())


def rows(run: Path) -> list[dict]:
    """Return what was logged in training, a row each time."""
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def table(found: Mapping[str, Found], titles: Mapping[str, str] | None = None) -> str:
    """Return mean and deviation of every arm in percent, as a table in Markdown.

    Args:
        found: Shares by arm.
        titles: What to call a measure, where that is not its name.
    """
    measures = list(next(iter(found.values())))
    heads = [(titles or {}).get(name, name) for name in measures]
    lines = [f"| arm | {' | '.join(heads)} |", "|---" * (1 + len(heads)) + "|"]
    for arm, values in found.items():
        lines.append(f"| {arm} | {' | '.join(spoken(values[name]) for name in measures)} |")
    return "\n".join(lines)


def spoken(values: list[float]) -> str:
    """Return a mean in percent with the deviation over seeds."""
    spread = f" ± {100 * stdev(values):.1f}" if len(values) > 1 else ""
    return f"{100 * mean(values):.1f}{spread}"


def plain(axis: Axes) -> None:
    """Leave of a panel's frame what it needs, over a faint grid."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(alpha=0.25)


def draw_curves(
    runs: Mapping[str, Path],
    colors: Sequence[str],
    panels: Mapping[str, str],
    title: str,
    path: Path,
) -> None:
    """Draw each metric of `panels` as one panel under its title, with a line a run.

    What is never negative begins at 0, accuracies aside.
    """
    width = 2 + 3 * len(panels)
    figure, axes = pyplot.subplots(1, len(panels), figsize=(width, 3.2), layout="constrained")
    for axis, (name, heading) in zip(axes, panels.items(), strict=True):
        for (label, run), color in zip(runs.items(), colors, strict=True):
            mark = "o" if name == ACCURACY else None
            axis.plot(*curve(run, name), color=color, label=label, linewidth=1.8, marker=mark)
        axis.set(title=heading, xlabel="epoch")
        plain(axis)
        if name != ACCURACY and axis.dataLim.y0 >= 0:
            axis.set_ylim(bottom=0)
    handles = axes[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=len(runs), frameon=False)
    figure.suptitle(title)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def curve(run: Path, name: str) -> tuple[list[float], list[float]]:
    """Return the epochs at which a metric was logged, and its values."""
    logged = [row for row in rows(run) if name in row]
    return [row["epoch"] for row in logged], [row[name] for row in logged]
