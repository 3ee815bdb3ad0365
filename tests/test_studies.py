"""The studies go on where they were stopped, and leave a table, numbers and a figure."""

import contextlib
import importlib
import io
import json
import os
import runpy
import subprocess
import sys
from concurrent.futures import Future
from pathlib import Path

import pytest
import torch

import sslcli
from sslcli.config.presets import resolve
from sslcli.workflows.neighbours_result import Neighbour, NeighboursResult, Query

FOLDER = Path(__file__).parent.parent / "examples" / "studies"
TWO_STEPS = ["--set", 'train.duration="2 steps"']
TINY = {
    "adversarial": [
        "--setting",
        "digits",
        "--seeds",
        "1",
        "--widths",
        "4",
        "--count",
        "8",
        *TWO_STEPS,
    ],
    "ablations": ["--study", "swav-multi-crop", *TWO_STEPS],
    "byol_collapse": TWO_STEPS,
    "directpred": TWO_STEPS,
    "energy": ["--methods", "supervised,igebm", *TWO_STEPS],
    "moco": TWO_STEPS,
    "phrases": ["--study", "esimcse", "--arms", "SimCSE", *TWO_STEPS],
    "simsiam_collapse": TWO_STEPS,
    "zero_shot": [
        *("--seeds", "1", "--batches", "64", "--no-colours"),
        *(*TWO_STEPS, "--set", 'evaluation.linear.duration="2 steps"'),
    ],
}
WATCHED = ("pretrain", "knn_eval", "linear_eval", "calibrate", "ood_detect", "sts_eval")
ALONE = {"cifar10_small": ["--setting", "digits", "--methods", "simclr", "--epochs", "1"]}


def alone(name, out):
    """Run a study in a process of its own; return what it says on stdout and stderr."""
    environment = {**os.environ, "SSL_CACHE": str(out / "cache")}
    environment.pop("SSL_DATA", None)
    command = [sys.executable, str(FOLDER / f"{name}.py"), "--out", str(out), *ALONE[name]]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


class AtOnce:
    """A pool without processes, whose work this process can watch."""

    def __init__(self, jobs, mp_context):
        self.jobs = jobs

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def submit(self, work, *arguments):
        done = Future()
        done.set_result(work(*arguments))
        return done


def here(name, out):
    """Run a study in this process; return what it prints, and name and keywords of each call."""
    ran, printed, talk = [], io.StringIO(), io.StringIO()

    def watched(name):
        function = getattr(sslcli, name)

        def call(*arguments, **keywords):
            ran.append((name, keywords))
            return function(*arguments, **keywords)

        return call

    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)
        patch.setenv("SSL_CACHE", str(out / "cache"))
        patch.delenv("SSL_DATA", raising=False)
        patch.setattr(importlib.import_module("commands"), "ProcessPoolExecutor", AtOnce)
        for function in WATCHED:
            patch.setattr(sslcli, function, watched(function), raising=False)
        patch.setattr(sys, "argv", [f"{name}.py", "--out", str(out), *TINY[name]])
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(talk):
            importlib.import_module(name).main()
    return printed.getvalue(), ran


@pytest.fixture
def study(tmp_path):
    """Return a function that runs a study in this process."""
    return lambda name: here(name, tmp_path / "study")


def test_each_study_is_listed_here():
    studies = TINY.keys() | ALONE.keys() | {"captions", "commands", "real_text"}
    assert {file.stem for file in FOLDER.glob("*.py")} == studies


@pytest.mark.parametrize(
    "name",
    [
        "byol_collapse",
        "simsiam_collapse",
        pytest.param("adversarial", marks=pytest.mark.slow),
        pytest.param("directpred", marks=pytest.mark.slow),
        pytest.param("moco", marks=pytest.mark.slow),
    ],
)
def test_a_study_trains_its_arms_and_draws_a_figure(study, tmp_path, name):
    printed, ran = study(name)
    (figure,) = (tmp_path / "study").glob("*.png")
    assert figure.stat().st_size > 10_000
    assert str(figure) in printed
    assert sum(name == "pretrain" for name, _ in ran) >= 2


@pytest.mark.slow
def test_the_study_of_prompts_measures_every_kind_and_every_arm(study, monkeypatch, tmp_path):
    printed, ran = study("zero_shot")
    assert [name for name, _ in ran] == ["pretrain", "knn_eval", "linear_eval"]
    assert printed.startswith("| arm | built-in | unseen | new words |")
    assert "| batch 64 |" in printed
    monkeypatch.syspath_prepend(FOLDER)
    written = runpy.run_path(str(FOLDER / "zero_shot.py"))["colours"](tmp_path / "pictures")
    lines = written.read_text().splitlines()
    assert len(lines) == 1 + 5768
    red, on, blue, ground = lines[1].split(",")[1].split()
    assert (on, ground) == ("on", "ground")
    assert red != blue


def test_an_ablation_does_again_what_is_lost_and_nothing_else(study, tmp_path):
    printed, _ = study("ablations")
    assert (tmp_path / "study" / "swav-multi-crop.png").stat().st_size > 10_000
    (tmp_path / "study" / "swav-multi-crop" / "2-crops" / "study-knn.json").unlink()
    again, ran = study("ablations")
    assert again == printed
    assert [name for name, keywords in ran if "resume" not in keywords] == ["knn_eval"]


@pytest.fixture
def ablations(monkeypatch):
    """Return what examples/studies/ablations.py defines."""
    monkeypatch.syspath_prepend(FOLDER)
    return runpy.run_path(str(FOLDER / "ablations.py"))


def test_an_ablation_of_several_seeds_shows_their_deviation(ablations):
    each = {"knn of each seed": [0.5, 0.6], "linear of each seed": [0.7]}
    assert "| a | 55.0 ± 7.1 | 70.0 |" in ablations["table"]({"a": each})


@pytest.mark.parametrize("setting", ["digits", "cifar10-small"])
def test_every_arm_of_the_ablations_is_a_valid_config(ablations, setting):
    for study in ablations["STUDIES"].values():
        assert {label for pair in study.better for label in pair} <= study.arms.keys()
        for arm in study.arms.values():
            resolve(arm.preset(setting), None, {}, arm.all_changes(setting, epochs=3))


def test_an_ablation_can_drop_the_small_crops(ablations):
    arm = ablations["STUDIES"]["swav-multi-crop"].arms["2 crops"]
    config = resolve("swav/digits", None, {}, arm.all_changes("digits", epochs=3)).config
    assert config.views == resolve("swav/digits", None, {}).config.views[:1]


def test_a_difference_counts_beyond_two_standard_errors(ablations):
    verdict = ablations["verdict"]
    high, low = ({"knn": knn, "n": 400} for knn in (0.9, 0.8))  # errors 0.015 and 0.02: 0.05
    assert verdict(high, low) == "seen"
    assert verdict(low, high) == "the other way round"
    assert verdict(high, {"knn": 0.86, "n": 400}) == "within chance"


@pytest.mark.slow
def test_phrases_measures_its_arms_and_skips_what_is_done(study, tmp_path):
    printed, _ = study("phrases")
    assert printed.count("| 49.8 |") == 1
    (tmp_path / "study" / "esimcse" / "SimCSE" / "0" / "study-sts.json").unlink()
    again, ran = study("phrases")
    assert again == printed
    assert [name for name, keywords in ran if "resume" not in keywords] == ["sts_eval"]


def test_every_pair_of_noises_is_a_valid_config(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    arms = runpy.run_path(str(FOLDER / "phrases.py"))["STUDIES"]["consert"]
    configs = [
        resolve(f"{arm}/phrases", None, {}, changes).config for arm, changes in arms.values()
    ]
    assert len({(c.method.first.kind, c.method.second.kind) for c in configs}) == 11


def test_real_text_tells_steps_by_a_pilot_and_keeps_a_frozen_encoder(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(FOLDER)
    words = ["the", "red", "two", "is", "above", "one", "on", "it", "a", "five"]
    lines = [f"{a} {b} {c}" for a in words for b in words for c in words[:4]]
    (tmp_path / "all.txt").write_text("\n".join(lines))
    (tmp_path / "dev.csv").write_text(
        "sentence1,sentence2,score\na red,a two,2\nit is,it,5\nthe two,the one,1\n"
    )
    fields = {"encoder.name": "bert-1-8-2", "train.duration": "1 steps"}
    first = sslcli.pretrain("mlm", data=str(tmp_path / "all.txt"), out=tmp_path / "first",
                            overrides=fields)  # fmt: skip
    sslcli.export(first, format="sentence-transformers", out=tmp_path / "model")
    module = importlib.import_module("real_text")
    alone = "SimCSE, head alone"
    monkeypatch.setattr(module, "PILOT", 2)
    monkeypatch.setattr(module, "ARMS", {alone: module.ARMS[alone]})
    files = ["--model", "model", "--data", "all.txt", "--dev", "dev.csv", "--drop", "five"]
    options = [
        *files,
        "--minutes",
        "0",
        "--every",
        "1",
        "--out",
        "out",
        "--set",
        "train.batch_size=8",
    ]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["real_text.py", *options])
    module.main()
    (row,) = [line for line in capsys.readouterr().out.splitlines() if "head alone | 1 |" in line]
    after, best = (cell.strip() for cell in row.split("|")[4:6])
    assert best == f"{after} at 1"
    assert "five" not in (tmp_path / "out" / "sentences.txt").read_text()
    runs = [tmp_path / "out" / name for name in ("start", "simcse-head-alone/0")]
    old, new = (sslcli.load(run).encoder.state_dict() for run in runs)
    assert all(torch.equal(tensor, new[f"network.{name}"]) for name, tensor in old.items())


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """Return the folder of a study that is done, and what it printed."""
    out = tmp_path_factory.mktemp("energy")
    return out, here("energy", out)[0]


def test_energy_measures_each_method_and_draws(first):
    out, printed = first
    found = json.loads((out / "energy.json").read_text())["digits"]
    assert found.keys() == {"supervised", "igebm"}
    for numbers in found.values():
        assert 0 <= numbers["top1"]["mean"] <= 1
        assert 0 <= numbers["auroc/log-p/constant"]["mean"] <= 1
    assert "auroc/msp/constant" in found["supervised"]
    assert printed.count("| igebm |") == 2
    assert (out / "energy.png").stat().st_size > 10_000


def test_energy_skips_what_is_done(first):
    out, printed = first
    (out / "digits" / "supervised-0" / "study-ood.json").unlink()
    again, ran = here("energy", out)
    assert [name for name, _ in ran] == ["pretrain", "ood_detect"]
    assert ran[0][1]["resume"] is True
    assert ran[0][1]["out"].name == "supervised-0"
    assert again == printed


def test_a_study_says_what_it_does_on_stderr(monkeypatch, capsys):
    monkeypatch.syspath_prepend(FOLDER)
    talk = importlib.import_module("commands").TALK
    talk.note("run directory runs/a")
    talk.warn("2 images are unreadable")
    said = capsys.readouterr()
    assert said.err == "run directory runs/a\nwarning: 2 images are unreadable\n"
    assert said.out == ""


@pytest.mark.slow
def test_cifar10_small_compares_methods_in_a_table(tmp_path):
    printed, _ = alone("cifar10_small", tmp_path)
    (found,) = json.loads((tmp_path / "study.json").read_text())
    assert found["method"] == "simclr"
    assert printed.count("| simclr |") == 1
    assert (tmp_path / "study.png").stat().st_size > 10_000


def test_captions_of_the_nearest_photos_are_compared(tmp_path, monkeypatch):
    told = {"a": "a dog runs", "b": "one dog that runs", "c": "snow falls", "d": "falls of snow"}
    table = tmp_path / "captions.tsv"
    table.write_text("file\tcaption\n" + "".join(f"{n}.jpg\t{t}\n" for n, t in told.items()))

    def neighbours(run, **asked):
        def found(nearest):
            near = [(Neighbour(0, f"photos/{n}.jpg", None, 1.0),) for n in nearest]
            pairs = zip(told, near, strict=True)
            return tuple(Query(f"photos/{name}.jpg", None, each) for name, each in pairs)

        return NeighboursResult("photos", 4, found("badc"), found("cdab"), found("bdac"))

    monkeypatch.syspath_prepend(FOLDER)
    monkeypatch.setattr(sslcli, "neighbours", neighbours, raising=False)
    measured = runpy.run_path(str(FOLDER / "captions.py"))["compare"]("run", "photos", table, 1)
    expected = {"encoder": 1, "untrained": 0, "pixels": 0.5, "chance": 1 / 3, "best": 1}
    assert measured == pytest.approx(expected)
