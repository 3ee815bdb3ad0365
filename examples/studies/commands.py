"""Run `ssl` commands once: what is finished is not done again, what was stopped goes on."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


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


def curve(run: Path, name: str) -> tuple[list[float], list[float]]:
    """Return the epochs at which a metric was logged, and its values."""
    logged = [row for row in rows(run) if name in row]
    return [row["epoch"] for row in logged], [row[name] for row in logged]
