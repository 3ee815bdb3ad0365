"""The JSON of every command: one schema, the same thing under the same key."""

import json
import shutil
from pathlib import Path

import pytest

RUNS = Path(__file__).parent.parent / "data_old"
NUMBER = int | float | None  # None: not measured
ABOUT = {"schema": int, "command": str, "versions": dict}
EVALUATION = ABOUT | {
    "checkpoint": str, "step": int, "data": dict, "metrics": dict, "protocol": str,
    "intervals": dict, "figures": list, "calibrator": dict | None, "unreadable": dict,
    "seconds": float, "device": str, "precision": str, "config_hash": str,
}  # fmt: skip
SHORT = ("--set", 'train.duration="1 steps"')
QUICK = {  # a command line of every evaluation: its run, its options
    "knn-eval": ("simsiam", ()),
    "linear-eval": ("simsiam", ()),
    "finetune": ("simsiam", ("--set", 'evaluation.finetune.duration="2 steps"')),
    "distill": ("teacher", ("--set", 'evaluation.distill.duration="2 steps"')),
    "calibrate": ("jem", ()),
    "ood-detect": ("jem", ("--ood", "constant", "--score", "msp")),
    "robust-eval": ("jem", ("--count", 8, "--steps", 1, "--restarts", 1, "--eps-l2", "none")),
    "sample-sgld": ("jem", ("--count", 4, "--steps", 2)),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory, run_once):
    """Return a folder of tiny runs, one of them fine-tuned, one a vision transformer."""
    folder = tmp_path_factory.mktemp("schema")
    for name in ("simsiam", "jem"):
        shutil.copytree(RUNS / name, folder / name)
    short = ("--set", 'evaluation.finetune.duration="2 steps"')
    run_once("finetune", folder / "simsiam", "--out", folder / "teacher", "--quiet", *short)
    small = ("--set", "train.batch_size=32", *SHORT)
    run_once("pretrain", "--preset", "dino/digits-vit", "--out", folder / "vit", "--quiet", *small)
    return folder


def check(found, schema):
    """Hold an object's keys and types to a schema; further keys are the command's own."""
    assert schema.keys() <= found.keys()
    for name, kind in schema.items():
        assert isinstance(found[name], kind), f"{name} is {found[name]!r}"
    assert found["schema"] == 2
    assert found["versions"].keys() == {"sslcli", "python", "torch"}


@pytest.mark.parametrize("command", QUICK)
def test_evaluations_share_one_schema(command, ssl, runs):
    run, words = QUICK[command]
    found = ssl(command, runs / run, *words, "--json").json
    check(found, EVALUATION)
    assert found["command"] == command
    assert found["protocol"] or command == "sample-sgld"  # whose plan is spread over its record
    assert found["data"].keys() == {"train", "test", "note"}
    assert all(isinstance(value, NUMBER) for value in found["metrics"].values())
    assert all(low <= high for low, high in found["intervals"].values())
    assert found["intervals"].keys() <= found["metrics"].keys()
    assert all(Path(figure).suffix == ".png" for figure in found["figures"])
    lines = (runs / run / "results.jsonl").read_text().splitlines()
    assert {"time": json.loads(lines[-1])["time"], **found} == json.loads(lines[-1])


def test_a_gate_that_is_not_met_is_told_beside_the_numbers(ssl, runs):
    outcome = ssl("knn-eval", runs / "simsiam", "--require", "top1>=2", "--json")
    check(outcome.json, EVALUATION | {"exit_code": int, "unmet": list})
    assert outcome.json["exit_code"] == outcome.code == 5
    (unmet,) = outcome.json["unmet"]
    assert unmet in outcome.err


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("presets show", ("no/such",)),
        ("knn-eval", ("no-such-run",)),
        ("knn-eval", ("run", "--kk", 3)),
    ],
)
def test_errors_say_whose_they_are(command, words, ssl):
    found = ssl(*command.split(), *words, "--json")
    check(found.json, ABOUT | {"exit_code": int, "errors": list})
    assert found.json["command"] == command
    assert found.json["exit_code"] == found.code
    assert found.json["errors"][0].keys() == {"error", "where", "hint"}


@pytest.mark.parametrize(
    "words",
    [
        ("methods",),
        ("presets", "list"),
        ("presets", "show", "simsiam/digits"),
        ("data", "list"),
        ("data", "check", "digits"),
        ("doctor",),
        ("bench", "--preset", "simsiam/digits", "--steps", 3, "--set", "encoder.width=4"),
        ("attention", "{vit}"),
        ("map", "{run}", "--by", "pca", "--count", 50),
        ("neighbours", "{run}", "--count", 2, "--k", 2),
        ("export", "{run}"),
        ("embed", "{run}", "--data", "digits", "--out", "{run}/features.npz"),
        ("pretrain", "--preset", "simsiam/digits", "--out", "{run}/new", *SHORT),
    ],
)
def test_other_commands_say_schema_command_and_versions(words, ssl, runs):
    words = [str(word).format(run=runs / "simsiam", vit=runs / "vit") for word in words]
    outcome = ssl(*words, "--json")
    assert outcome.code == 0 or "doctor" in words  # which finds what is wrong with this machine
    found = outcome.json
    check(found, ABOUT)
    assert " ".join(words).startswith(found["command"])
    for name in found.keys() & EVALUATION.keys():
        assert isinstance(found[name], EVALUATION[name]), name


@pytest.mark.parametrize("command", [*QUICK, "attention", "embed", "sample-sgld"])
def test_plans_say_how_many_images_have_which_use(command, ssl, runs):
    run, words = {**QUICK, "attention": ("vit", ()), "embed": ("simsiam", ())}[command]
    found = ssl(command, runs / run, *words, "--dry-run", "--json").json
    check(found, ABOUT | {"dry_run": bool})
    assert found["dry_run"]
    counts = found.get("images", {"test": 1})  # chains and trainings count otherwise
    assert counts
    assert all(isinstance(each, int) for each in counts.values())


def test_what_cannot_be_read_is_told_alike_by_a_check_and_by_an_evaluation(ssl, runs, holed):
    words = ("--data", holed, "--set", "data.max_bad_fraction=0.5", "--out", runs / "holed.npz")
    read = ssl("embed", runs / "simsiam", *words, "--json").json
    checked = json.loads(ssl("data", "check", holed, "--json").out.splitlines()[0])
    assert checked["data"] == read["data"] == {"source": str(holed)}
    for found in (checked, read):
        told = found["unreadable"][str(holed)]
        assert (told["count"], told["of"]) == (2, 40)
        assert len(told["files"]) == 2
