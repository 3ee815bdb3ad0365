"""A run that is killed at any instant goes on, and ends as if it had never been."""

import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from sslcli.cli import app

KILLED = -9
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}  # small networks are no quicker on more
# Once these are imported a run begins in half a second, in a fork of a process that has them.
FORKED = multiprocessing.get_context("forkserver")
FORKED.set_forkserver_preload(["sslcli.assemble", "sslcli.cli.app", "sslcli.engine.trainer"])


def run_command(words, seconds=None):
    """Run `ssl WORDS` as a person does, kill it after some seconds, and return its exit code."""
    command = [sys.executable, "-m", "sslcli", *words]
    with subprocess.Popen(command, env=ONE_THREAD) as process:
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
    return process.returncode


def run_fork(words, seconds=None):
    """Do the same in a process that need not import anything any more."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setattr(sys, "argv", ["ssl", *words])  # the child has it from here
        process = FORKED.Process(target=app.main)
        process.start()
    process.join(seconds)
    process.kill()
    process.join()
    return process.exitcode


@dataclass
class Recipe:
    """A training run's options, how to start it, and how it ends and how long it takes unbroken."""

    words: list[str]
    run: Callable[..., int]
    unbroken: Path
    start: float = 0.0
    whole: float = 0.0

    def measure(self) -> "Recipe":
        """Train unbroken, and see how many seconds it takes to begin and in all."""
        began = time.time()
        assert self.go_on(self.unbroken) == 0
        self.start = (self.unbroken / "config.toml").stat().st_mtime - began
        self.whole = time.time() - began
        return self

    def go_on(self, run: Path, seconds: float | None = None) -> int:
        """Begin a run, or go on with what is there of it, and kill it after some seconds."""
        again = ["--resume"] if (run / "config.toml").exists() else []
        code = self.run(["pretrain", *self.words, "--out", str(run), *again], seconds)
        assert code in (0, KILLED)
        return code


def recipe(tmp_path, run, epochs, workers, data="digits"):
    settings = {
        "train.duration": f'"{epochs} epochs"',
        "train.batch_size": 64 if data == "digits" else 8,
        "train.checkpoint_every": '"2 steps"',
        "train.log_every": '"1 steps"',
        "data.workers": workers,
        "encoder.width": 8,
        "evaluation.online_every": "",  # no kNN: it only costs time here
    }
    words = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    words += ["--preset", "simsiam/digits", "--data", str(data), "--quiet", "--device", "cpu"]
    return Recipe(words, run, tmp_path / "unbroken").measure()


def instant(recipe, random):
    """Return when to kill: mostly while it trains, sometimes while it starts."""
    if random.random() < 0.2:
        return random.uniform(0, recipe.start)
    return recipe.start + random.uniform(0, 0.8) * (recipe.whole - recipe.start)


def kill_again_and_again(recipe, kills, folder, seed=0):
    """Kill so many times, over as many runs as that takes; check every run that ends."""
    random, killed, ended = Random(seed), 0, 0
    while killed < kills:
        code = recipe.go_on(folder / f"run-{ended}", instant(recipe, random))
        killed += code == KILLED
        if code == 0:
            check(folder / f"run-{ended}", recipe.unbroken)
            ended += 1
    assert recipe.go_on(folder / f"run-{ended}", 10 * recipe.whole) == 0
    check(folder / f"run-{ended}", recipe.unbroken)
    return ended + 1


def check(run, unbroken):
    """Assert that two runs left the same files, weights and rows."""
    assert files(run) == files(unbroken)
    weights, expected = (load_file(path / "checkpoint.safetensors") for path in (run, unbroken))
    assert weights.keys() == expected.keys()
    assert [name for name in weights if not torch.equal(weights[name], expected[name])] == []
    assert rows(run) == rows(unbroken)


def files(run):
    """Return every path in a run, but for TensorBoard's, of which each start leaves one."""
    paths = {str(path.relative_to(run)) for path in run.rglob("*")}
    return {path for path in paths if not path.startswith("tensorboard")}


def rows(run):
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [(row["step"], row["loss"]) for row in map(json.loads, lines)]


@pytest.fixture
def mixed(tmp_path):
    """Return a folder of images of several sizes, which workers decode in every epoch."""
    random = np.random.default_rng(0)
    for index in range(160):
        pixels = random.integers(0, 256, (16 + index % 7, 20, 3), dtype=np.uint8)
        path = tmp_path / "mixed" / f"{index % 2}" / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return tmp_path / "mixed"


def test_three_kills_change_nothing(tmp_path):
    assert run_fork(["--version"]) == 0  # what is imported now does not count as a run's start
    kill_again_and_again(recipe(tmp_path, run_fork, epochs=2, workers=0), 3, tmp_path)


@pytest.mark.slow
def test_fifty_kills_change_nothing(tmp_path):
    runs = kill_again_and_again(recipe(tmp_path, run_command, epochs=6, workers=0), 50, tmp_path)
    print(f"50 kills over {runs} runs")


@pytest.mark.slow
def test_fifty_kills_of_a_run_with_workers_change_nothing(tmp_path, mixed):
    runs = kill_again_and_again(
        recipe(tmp_path, run_command, epochs=6, workers=2, data=mixed), 50, tmp_path
    )
    print(f"50 kills over {runs} runs")
