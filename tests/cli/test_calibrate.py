"""`ssl calibrate` from the command line, and what other commands do with what it stored."""

import json
import os
import shutil
from typing import get_args

import numpy as np
import pytest
import torch

import sslcli
from sslcli.cli.calibrate import calibrate
from sslcli.engine.checkpoint import load_checkpoint
from sslcli.engine.state import newest_state
from sslcli.evaluate.calibration.calibrators import CALIBRATORS
from sslcli.workflows.calibration_data import Kind

SHORT = 'evaluation.finetune.duration="2 epochs"'


@pytest.fixture(scope="session")
def finetuned(trained, tmp_path_factory, run_once):
    """Return the folder of a short fine-tuning, wrong often enough; tests must not change it."""
    folder = tmp_path_factory.mktemp("runs") / "finetuned"
    run_once("finetune", trained, "--out", folder, "--set", SHORT, "--quiet")
    return folder


@pytest.fixture
def run(finetuned, tmp_path):
    """Return a copy of it that a test may change; hard links stay hard links."""
    folder = shutil.copytree(finetuned, tmp_path / "run")
    model = max((folder / "state").glob("*/model.safetensors"))
    (folder / "checkpoint.safetensors").unlink()
    os.link(model, folder / "checkpoint.safetensors")
    return folder


def test_figures_before_and_after_come_from_images_that_were_not_fitted_on(ssl, run):
    outcome = ssl("calibrate", run, "--json", "--quiet")
    assert outcome.code == 0
    metrics = outcome.json["metrics"]
    assert metrics["n"] + metrics["n_fit"] == 355
    assert metrics["top1"] == metrics["top1_before"]
    assert metrics["temperature"] > 0
    assert 0 <= metrics["ece"] <= metrics["mce"] <= 1
    (line,) = (run / "results.jsonl").read_text().splitlines()
    assert json.loads(line)["metrics"] == metrics


def test_the_reliability_diagram_is_drawn_and_its_bins_are_in_the_json(ssl, run):
    found = ssl("calibrate", run, "--bins", 8, "--json", "--quiet").json
    assert (run / "figures" / "reliability-temperature.png").read_bytes().startswith(b"\x89PNG")
    rows = found["reliability"]["temperature"]
    n = sum(row["count"] for row in rows)
    assert n == found["metrics"]["n"]
    ece = sum(row["count"] * abs(row["gap"]) for row in rows) / n
    assert ece == pytest.approx(found["metrics"]["ece"])
    assert len(rows) <= found["bins"] == 8


def test_none_measures_all_held_out_images_and_fits_nothing(ssl, run):
    found = ssl("calibrate", run, "--method", "none", "--json", "--quiet").json
    assert found["metrics"]["n"] == 355
    assert "temperature" not in found["metrics"]
    assert found["calibrator"] is None


def test_isotonic_curves_are_fitted_and_reported(ssl, run):
    found = ssl("calibrate", run, "--method", "isotonic", "--fit-share", 0.7, "--json").json
    assert found["metrics"]["n_fit"] > 240
    assert found["calibrator"]["calibrator"] == {
        "method": "isotonic", "floor": pytest.approx(0.1 / (found["metrics"]["n_fit"] + 2))
    }  # fmt: skip


def test_seeds_choose_other_fitting_images_of_the_same_held_out_ones(ssl, run):
    found = ssl("calibrate", run, "--seeds", "0-2", "--json", "--quiet").json
    metrics = found["metrics"]
    assert metrics["seeds"] == 3
    assert metrics["n"] + metrics["n_fit"] == 355
    assert metrics["temperature_deviation"] > 0
    alone = [ssl("calibrate", run, "--seed", s, "--json").json["metrics"] for s in range(3)]
    assert metrics["ece"] == pytest.approx(np.mean([each["ece"] for each in alone]))


def test_a_bare_encoder_is_refused_with_what_to_do(ssl, trained):
    outcome = ssl("calibrate", trained)
    assert outcome.code == 2
    assert "ssl finetune" in outcome.err
    assert "ssl linear-eval" in outcome.err


def test_a_stored_calibrator_leaves_weights_and_state_alone(ssl, run):
    before = load_checkpoint(run).tensors()
    outcome = ssl("calibrate", run, "--store", "--json", "--quiet")
    assert outcome.code == 0
    assert outcome.json["stored"] is True
    after = load_checkpoint(run)
    assert all(torch.equal(before[name], each) for name, each in after.tensors().items())
    assert after.facts["calibrator"]["calibrator"]["method"] == "temperature"
    _, complaints = newest_state(run)
    assert complaints == []


def test_a_stored_calibrator_is_applied_to_images_that_it_has_not_seen(ssl, run):
    fitted = ssl("calibrate", run, "--store", "--seed", 5, "--fit-share", 0.3, "--json").json
    applied = ssl("calibrate", run, "--method", "stored", "--json").json
    assert applied["metrics"] == fitted["metrics"]
    moved = shutil.copy(run / "checkpoint.safetensors", run.parent / "moved.safetensors")
    assert (
        ssl("calibrate", moved, "--method", "stored", "--json").json["metrics"]["n"]
        == (fitted["metrics"]["n"])
    )


def test_a_stored_calibrator_is_replaced_only_when_told(ssl, run):
    assert ssl("calibrate", run, "--store").code == 0
    again = ssl("calibrate", run, "--store")
    assert again.code == 2
    assert "--overwrite" in again.err
    assert ssl("calibrate", run, "--store", "--overwrite", "--method", "isotonic").code == 0
    assert load_checkpoint(run).facts["calibrator"]["calibrator"]["method"] == "isotonic"


def test_what_misses_its_requirement_is_not_stored(ssl, run):
    outcome = ssl("calibrate", run, "--store", "--require", "ece<=0", "--json")
    assert outcome.code == 5
    assert outcome.json["stored"] is False
    assert "calibrator" not in load_checkpoint(run).facts


def test_python_finds_what_the_command_prints(ssl, finetuned):
    words = ("calibrate", finetuned, "--method", "isotonic", "--json")
    one, two = ssl(*words, "--seed", 1).json, ssl(*words, "--seeds", "0-1").json
    found = sslcli.calibrate(finetuned, method="isotonic", seed=1)
    assert found.metrics().items() <= one["metrics"].items()
    assert found.first.after.ece == one["metrics"]["ece"]
    assert found.calibrator.facts() == one["calibrator"]
    found = sslcli.calibrate(finetuned, method="isotonic", seeds=range(2))
    assert found.metrics().items() <= two["metrics"].items()
    assert found.over_seeds["ece"].deviation == two["over_seeds"]["ece"]["deviation"]


def test_python_stores_at_once_and_replaces_only_when_told(run):
    found = sslcli.calibrate(run, store=True)
    facts = load_checkpoint(run).facts["calibrator"]
    assert found.stored
    assert facts == found.calibrator.model_dump(mode="json")
    with pytest.raises(sslcli.SslError) as caught:
        sslcli.calibrate(run, store=True)
    assert "`overwrite`" in caught.value.hint
    again = sslcli.calibrate(run, store=True, overwrite=True, method="isotonic")
    assert again.calibrator.calibrator.method == "isotonic"


def test_python_names_the_argument_at_fault(finetuned):
    with pytest.raises(sslcli.SslError) as caught:
        sslcli.calibrate(finetuned, method="none", store=True)
    assert caught.value.where == "store"
    assert "--" not in caught.value.what + caught.value.hint


def test_the_command_offers_the_calibrators_there_are():
    offered = get_args(get_args(calibrate.__annotations__["method"])[0])
    assert offered == get_args(Kind)
    assert offered == (*CALIBRATORS, "stored", "none")


def test_embedded_probabilities_are_the_calibrated_ones(ssl, run, tmp_path):
    files = [tmp_path / "before.npz", tmp_path / "after.npz"]
    assert ssl("embed", run, "--part", "test", "--out", files[0]).code == 0
    temperature = ssl("calibrate", run, "--store", "--json").json["metrics"]["temperature"]
    outcome = ssl("embed", run, "--part", "test", "--out", files[1])
    assert "calibrated by temperature" in outcome.err
    gaps = []
    for file in files:
        with np.load(file) as kept:
            logits = np.log(kept["probabilities"])
        gaps.append(logits[:, :1] - logits[:, 1:2])
    assert np.allclose(gaps[0], temperature * gaps[1], atol=1e-3)


def test_an_exported_classifier_gives_calibrated_logits(ssl, run, tmp_path):
    files = [tmp_path / "before.pt2", tmp_path / "after.pt2"]
    words = ("export", run, "--classifier", "--format", "pt2", "--json", "--out")
    assert ssl(*words, files[0]).json["calibrator"] is None
    stored = ssl("calibrate", run, "--store", "--json").json
    temperature = stored["metrics"]["temperature"]
    assert ssl(*words, files[1]).json["calibrator"] == stored["calibrator"]
    images = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    before, after = (torch.export.load(file).module()(images) for file in files)
    assert before.shape == (4, 10)
    assert torch.allclose(before, temperature * after, atol=1e-4)


def test_curves_that_do_not_fold_are_not_exported(ssl, run):
    assert ssl("calibrate", run, "--store", "--method", "isotonic").code == 0
    outcome = ssl("export", run, "--classifier", "--format", "onnx")
    assert outcome.code == 2
    assert "isotonic" in outcome.err
    assert ssl("export", run, "--classifier").code == 2


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--method", "none", "--store"], "error: --method none fits nothing"),
        (["--method", "stored"], "fit one first, with ssl calibrate and --store"),
        (["--store", "--seeds", "0-1"], "one calibrator is stored"),
        (["--fit-data", "digits", "--fit-share", "0.5"], "fitted on whole"),
        (["--fit-data", "digits", "--seeds", "0-1"], "leaves no choice"),
        (["--fit-data", "digits"], "also is reported on"),
        (["--require", "ecce<=1"], "did you mean 'ece'"),
        (["--method", "none", "--require", "temperature<=1"], "no metric is named"),
    ],
)
def test_options_that_do_not_go_together_are_told(ssl, finetuned, words, told):
    outcome = ssl("calibrate", finetuned, *words)
    assert outcome.code == 2
    assert told in outcome.err


def test_data_of_classes_that_the_classifier_does_not_know_is_refused(ssl, finetuned, photos):
    outcome = ssl("calibrate", finetuned, "--data", photos)
    assert outcome.code == 2
    assert "cats, dogs" in outcome.err


def test_a_dry_run_says_how_many_images_go_where_and_leaves_nothing(ssl, run):
    before = sorted(run.rglob("*"))
    outcome = ssl("calibrate", run, "--dry-run", "--json", "--store")
    assert sum(outcome.json["images"].values()) == 355
    assert sorted(run.rglob("*")) == before


def test_images_that_were_held_out_otherwise_in_training_are_refused(
    ssl, trained, photos, tmp_path
):
    words = ("--data", photos, "--out", tmp_path / "run", "--set", SHORT)
    assert ssl("finetune", trained, *words).code == 0
    same = ssl("calibrate", tmp_path / "run", "--method", "none")
    noise = ssl("calibrate", tmp_path / "run", "--method", "none", "--set", "seed=7")
    other = ssl("calibrate", tmp_path / "run", "--method", "none", "--set", "data.holdout_seed=7")
    assert (same.code, noise.code, other.code) == (0, 0, 2)
    assert same.out == noise.out
    assert "were trained on with their labels" in other.err


def test_unreadable_images_are_counted(ssl, run, holed):
    words = ("--data", holed, "--set", "data.max_bad_fraction=0.1", "--method", "none")
    told = ssl("calibrate", run, *words, "--json").json
    assert told["metrics"]["n"] == 19
    assert told["unreadable"][f"{holed} (test)"]["count"] == 1
