"""What studies share: commands that run once and go on where they stopped, and figures."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.axes import Axes

ACCURACY = "online_knn_top1"


def pretrain(run: Path, preset: str, data: str | None = None, changes: Sequence[str] = ()) -> None:
    """Train a run, or go on with it; `--resume` of a finished run ends at once.

    Args:
        run: The run directory; what is there without a saved state is replaced.
        preset: What `--preset` takes.
        data: What `--data` takes.
        changes: What each `--set` takes.
    """
    words = ["pretrain", "--out", str(run)]
    if (run / "state").is_dir():
        words.append("--resume")
    else:
        words += ["--preset", preset, "--overwrite", *(["--data", data] if data else [])]
        words += [word for change in changes for word in ("--set", change)]
    ssl(*words)


def measured(run: Path, name: str, *words: str) -> dict:
    """Return what an evaluation of a run printed as JSON, from the last time if it was done.

    Args:
        run: The run directory.
        name: What to call this evaluation.
        words: The command line after `ssl`, without the run and `--json`.
    """
    kept = run / f"study-{name}.json"
    if not kept.is_file():
        command, *rest = words
        answer = ssl(command, str(run), *rest, "--json")
        part = kept.with_suffix(".part")
        part.write_text(answer)
        part.rename(kept)
    return json.loads(kept.read_text())


def ssl(*words: str) -> str:
    """Run one command and return what it printed."""
    print("$ ssl", *words, file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "sslcli", *words]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def rows(run: Path) -> list[dict]:
    """Return what was logged in training, a row each time."""
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


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
