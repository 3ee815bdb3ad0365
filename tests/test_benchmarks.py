"""Every benchmark explains itself, and prints one JSON object with ratios."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "examples" / "benchmarks"
TINY = {
    "attack": "--preset advprop/digits --batch 4 --rounds 1",
    "captions": "--batch 8 --steps 1 --rounds 1",
    "chunks": "--preset simclr/digits --batch 32 --chunk 8",
    "checkpoint": "--preset simsiam/digits --epoch-of simsiam/digits --steps 1 --rounds 1",
    "jem": "--encoder wrn-10-1 --size 8 --batch 4 --rounds 1",
    "knn": "--train 500 --test 50 --dim 8 --rounds 1",
    "loader": "--images 60 --rounds 1 --workers 0",
    "methods": "--setting digits --methods swav --batch 8 --steps 1 --rounds 1",
    "precision": "--encoder resnet8 --batch 2 --size 8 --rounds 1",
    "sentences": "--encoder bert-1-8-2 --batch 4 --steps 1 --methods consert",
    "step": "--preset simsiam/digits --batch 8 --steps 1 --rounds 1",
}
# Their smallest case takes longer than a quick test may.
SLOW = {"estimate", "linear", "ood", "startup", "views"}
ALONE = {  # these measure whole processes, their own
    "memory": "--images=512 --epochs=1",
    "processes": "--preset simsiam/digits --batch 8 --steps 1 --rounds 1",
}


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Return a function that runs a benchmark in this process and returns what it printed."""
    monkeypatch.syspath_prepend(FOLDER)
    monkeypatch.setenv("SSL_CACHE", str(tmp_path))
    monkeypatch.delenv("SSL_DATA", raising=False)

    def benchmark(name, *words):
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *words])
        runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__")
        return capsys.readouterr().out

    return benchmark


def ratios(value):
    """Return every number under a name that says ratio, growth or times, wherever it is."""
    if isinstance(value, list):
        return [found for each in value for found in ratios(each)]
    if not isinstance(value, dict):
        return []
    own = [v for k, v in value.items() if k.startswith(("ratio", "growth", "times_as_fast"))]
    return own + [found for each in value.values() for found in ratios(each)]


def check(printed):
    (line,) = printed.splitlines()
    found = ratios(json.loads(line))
    assert found
    assert all(ratio > 0 for ratio in found)


def test_each_benchmark_is_listed_here():
    assert {file.stem for file in FOLDER.glob("*.py")} == TINY.keys() | SLOW | ALONE.keys()


@pytest.mark.parametrize("name", sorted(TINY))
def test_a_tiny_run_prints_one_json_object_with_ratios(run, name):
    if name == "sentences":
        pytest.importorskip("sentence_transformers")
    check(run(name, *TINY[name].split(), "--json"))


def test_a_tiny_run_without_json_prints_a_table(run):
    title, header, row = run("knn", *TINY["knn"].split()).splitlines()[:3]
    assert "queries" in title
    assert len(header.split()) == len(row.split()) - 1  # "torch topk" is two words


def test_jem_draws_the_samples_that_the_authors_script_draws(run):
    found = json.loads(run("jem", *TINY["jem"].split(), "--json"))
    assert found["largest_difference"] < 1e-5


@pytest.mark.parametrize("name", sorted(ALONE))
def test_whole_processes_are_measured_in_processes_of_their_own(name):
    command = [sys.executable, str(FOLDER / f"{name}.py"), *ALONE[name].split(), "--json"]
    check(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.parametrize("name", sorted(SLOW))
def test_a_longer_benchmark_says_what_it_takes(run, name, capsys):
    with pytest.raises(SystemExit) as ended:
        run(name, "--help")
    assert ended.value.code == 0
    assert "--json" in capsys.readouterr().out
