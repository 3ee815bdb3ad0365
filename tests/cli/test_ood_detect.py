"""Detection from the command line: bare encoders, classifiers, far sets, gates, what is kept."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import sslcli
from sslcli.cli.ood_detect import ood_detect
from sslcli.data.sources.far import KINDS
from sslcli.data.sources.open import open_source
from sslcli.engine.checkpoint import load_checkpoint
from sslcli.evaluate.classifier import linear_classifier
from sslcli.evaluate.ood import SCORES
from sslcli.evaluate.ood.metrics import METRICS
from sslcli.workflows.outside import names

DISTANCES = {"mahalanobis", "relative-mahalanobis", "knn"}
DENSITY = {"log-p", "mass", "refine", "refine-distance"}


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SSL_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def bare(trained, tmp_path):
    """Return a run directory of its own with a bare encoder."""
    (tmp_path / "run").mkdir()
    shutil.copy(trained / "checkpoint.safetensors", tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture(scope="module")
def classifier(trained, tmp_path_factory, run_once):
    """Return a fine-tuned run; tests must not change its checkpoint."""

    run = tmp_path_factory.mktemp("runs") / "finetuned"
    short = ("--set", 'evaluation.finetune.duration="3 epochs"')
    run_once("finetune", trained, "--out", run, "--quiet", *short)
    return run


@pytest.fixture
def energy_run(tmp_path, run_once):
    """Return a function that trains a method of densities for a few steps."""

    def train(method, *words):
        run = tmp_path / method
        short = ("--set", 'train.duration="2 steps"')
        run_once("pretrain", "--method", method, "--out", run, "--quiet", *short, *words)
        return run

    return train


def test_a_classifier_has_every_score_but_those_of_a_density(ssl, classifier):
    outcome = ssl("ood-detect", classifier, "--ood", "uniform-noise", "--json")
    assert outcome.code == 0
    metrics = outcome.json["metrics"]
    keys = {
        f"{metric}/{s.name}{at}"
        for metric in METRICS
        for s in SCORES
        for at in ("", "/uniform-noise")
        if s.name not in DENSITY
    }
    assert metrics.keys() == {*keys, "top1"}
    assert metrics["auroc/vim"] > 0.9
    assert outcome.json["left_out"].keys() == DENSITY
    assert all(0 <= value <= 1 for value in metrics.values())


def test_jem_has_every_score_and_its_density_is_its_energy_score(ssl, energy_run, photos):
    run = energy_run("jem")
    words = ("ood-detect", run, "--data", photos, "--ood", "constant", "--precision", "fp32")
    first = ssl(*words, "--json")
    assert first.json["left_out"] == {}
    metrics = first.json["metrics"]
    assert metrics["auroc/log-p"] == metrics["auroc/energy"]
    assert first.json["settings"]["refine"]["steps"] == 20
    shutil.rmtree(run / "features")
    assert ssl(*words, "--json").json["results"] == first.json["results"]


def test_igebm_has_scores_of_its_density_and_of_features(ssl, energy_run, photos):
    words = ("--data", photos, "--ood", "constant", "--json")
    outcome = ssl("ood-detect", energy_run("igebm"), *words)
    assert {row["score"] for row in outcome.json["results"]} == DISTANCES | DENSITY
    assert outcome.json["settings"]["refine"] == {
        "steps": 20, "step": 10.0, "noise": 0.005, "tuned_auroc": None,
    }  # fmt: skip
    assert "no linear classifier" in outcome.json["left_out"]["energy"]


@pytest.mark.parametrize("method", ["hdge", "supervised"])
def test_other_classifiers_are_refined_as_jem_is(ssl, energy_run, photos, method):
    words = ("--data", photos, "--ood", "constant", "--score", "refine", "--score", "mass")
    outcome = ssl("ood-detect", energy_run(method), *words, "--json")
    assert outcome.json["settings"]["refine"]["noise"] == 0.01
    assert outcome.json["metrics"].keys() >= {"auroc/refine/constant", "auroc/mass/constant"}


def test_a_stored_calibrator_is_used_and_told(ssl, classifier, tmp_path):
    shutil.copy(classifier / "checkpoint.safetensors", tmp_path)
    words = ("ood-detect", tmp_path, "--ood", "constant", "--no-tune", "--json")
    scores = ("--score", "entropy", "--score", "energy")
    plain = ssl(*words, *scores)
    assert ssl("calibrate", tmp_path, "--store", "--quiet").code == 0
    told = ssl(*words, *scores)
    assert "entropy of probabilities calibrated by the stored temp" in told.json["protocol"]
    assert "the stored calibrator was fitted on 179 of the inside images" in told.err
    before, after = plain.json["metrics"], told.json["metrics"]
    assert after["auroc/entropy"] != before["auroc/entropy"]
    assert after["auroc/energy"] == before["auroc/energy"]
    assert "the stored" not in ssl(*words, "--score", "knn").err


@pytest.fixture(scope="module")
def some_digits(tmp_path_factory):
    """Return a folder with 60 digits to train on and 60 to test, of three of the ten classes."""
    root, digits = tmp_path_factory.mktemp("data") / "some", open_source("digits", part=None)
    for name in ("7", "2", "9"):
        rows = np.flatnonzero(digits.labels == digits.class_names.index(name))[:40].tolist()
        for part, own in (("train", rows[:20]), ("test", rows[20:])):
            (root / part / name).mkdir(parents=True)
            for row in own:
                Image.fromarray(digits.load(row)).save(root / part / name / f"{row}.png")
    return root


def test_classes_are_matched_by_name_where_the_data_has_some_of_them(
    ssl, classifier, some_digits, tmp_path
):
    words = ("--ood", "constant", "--score", "msp", "--no-tune", "--precision", "fp32", "--json")
    outcome = ssl("ood-detect", classifier, "--data", some_digits, *words)
    assert "classes that the classifier does not know" not in outcome.err
    words = ("--data", some_digits, "--part", "test", "--precision", "fp32", "--out")
    assert ssl("embed", classifier, *words, tmp_path / "f.npz").code == 0
    with np.load(tmp_path / "f.npz") as kept:
        seen = dict(kept)
    said = seen["classifier_classes"][seen["probabilities"].argmax(axis=1)]
    right = (said == seen["class_names"][seen["labels"]]).mean()
    assert outcome.json["metrics"]["top1"] == pytest.approx(right)
    assert outcome.json["metrics"]["top1"] > 0.7


def test_the_classifier_is_the_one_that_was_trained(ssl, classifier):
    words = ("--ood", "constant", "--score", "msp", "--precision", "fp32", "--json")
    line = json.loads((classifier / "metrics.jsonl").read_text().splitlines()[-1])
    assert line["train_top1"] > 0.5
    assert ssl("ood-detect", classifier, *words).json["metrics"]["top1"] > 0.7
    head = linear_classifier(load_checkpoint(classifier))
    assert head.weight.shape == (10, 128)
    assert head.weight.dtype == torch.float32


def test_a_bare_encoder_has_scores_of_features_and_says_why(ssl, bare):
    outcome = ssl("ood-detect", bare, "--ood", "uniform-noise", "--json")
    assert outcome.code == 0
    assert {row["score"] for row in outcome.json["results"]} == DISTANCES
    first, second = [line for line in outcome.err.splitlines() if line.startswith("left out")]
    assert "msp, maxlogit" in first
    assert "no linear classifier" in first
    assert "log-p, mass, refine, refine-distance: the checkpoint's method models no" in second
    assert linear_classifier(load_checkpoint(bare)) is None


def test_all_built_in_far_sets_are_the_default_and_are_named(ssl, bare):
    outcome = ssl("ood-detect", bare, "--score", "knn", "--no-tune")
    assert f"all built-in far sets: {', '.join(KINDS)}" in outcome.err
    rows = [line.split("\t") for line in outcome.out.splitlines()]
    assert rows[0][:4] == ["outside", "n", "score", "AUROC"]
    assert [row[0] for row in rows[1:]] == [*KINDS, "mean"]
    assert rows[1][-1] == "k=50"


def test_tuned_settings_are_told_with_what_chose_them(ssl, bare):
    outcome = ssl("ood-detect", bare, "--score", "knn", "--ood", "constant", "--json")
    settings = outcome.json["settings"]["knn"]
    assert settings["k"] in (50, 200, 1000)
    assert 0.5 < settings["tuned_auroc"] <= 1
    fitting = "fitted on 1,298 training images; tuned on 144 others of them against their jigsaws"
    assert fitting in outcome.json["protocol"]
    plain = ssl("ood-detect", bare, "--score", "knn", "--ood", "constant", "--json", "--no-tune")
    assert plain.json["settings"]["knn"] == {"k": 50, "tuned_auroc": None}
    assert "tuned" not in plain.json["protocol"]


def test_any_data_may_be_outside_and_need_no_labels(ssl, bare, photos):
    outcome = ssl("ood-detect", bare, "--ood", photos / "cats", "--score", "knn", "--json")
    assert outcome.code == 0
    (row,) = outcome.json["results"]
    assert (row["outside"], row["n_inside"], row["n_outside"]) == ("cats", 355, 12)


def test_the_inside_may_be_unlabelled_data(ssl, bare, photos):
    words = ("--data", photos / "cats", "--ood", photos / "dogs", "--json")
    outcome = ssl("ood-detect", bare, *words)
    assert outcome.code == 0
    assert {row["score"] for row in outcome.json["results"]} == {"knn"}
    assert "no labels" in outcome.json["left_out"]["mahalanobis"]


def test_a_classifier_of_other_classes_is_told(ssl, classifier, photos):
    words = ("--data", photos, "--ood", "constant", "--score", "msp", "--json")
    outcome = ssl("ood-detect", classifier, *words)
    assert outcome.code == 0
    assert "are of classes that the classifier does not know; there is no accuracy" in outcome.err
    assert outcome.json["metrics"]["top1"] is None


def test_of_data_with_parts_the_test_part_is_outside(ssl, bare, photos):
    outcome = ssl("ood-detect", bare, "--data", photos, "--ood", "digits", "--json")
    assert {row["n_outside"] for row in outcome.json["results"]} == {355}


def test_gates_take_scores_sets_and_means(ssl, bare):
    words = ("ood-detect", bare, "--ood", "constant", "--score", "knn", "--json", "--require")
    assert ssl(*words, "auroc/knn/constant>=0.5").code == 0
    unmet = ssl(*words, "fpr95_in/knn<0")
    assert unmet.code == 5
    assert unmet.json["metrics"]["fpr95_in/knn"] >= 0
    unknown = ssl(*words, "auroc/knn/constants>=0.5")
    assert unknown.code == 2
    assert "did you mean 'auroc/knn/constant'" in unknown.err


def test_figures_and_a_line_of_results_are_kept(ssl, bare):
    outcome = ssl("ood-detect", bare, "--ood", "constant", "--score", "knn", "--json")
    for name in outcome.json["figures"]:
        assert Path(name).read_bytes().startswith(b"\x89PNG")
    assert {Path(name).name for name in outcome.json["figures"]} == {
        "ood-roc.png",
        "ood-scores-constant.png",
    }
    (line,) = (bare / "results.jsonl").read_text().splitlines()
    assert json.loads(line)["metrics"] == outcome.json["metrics"]


def test_figures_that_cannot_be_written_cost_a_warning(ssl, bare):
    (bare / "figures").write_text("in the way")
    outcome = ssl("ood-detect", bare, "--ood", "constant", "--score", "knn", "--json")
    assert outcome.code == 0
    assert outcome.json["figures"] == []
    assert "warning: " in outcome.err


def test_the_same_seed_gives_the_same_numbers_and_the_cache_changes_none(ssl, bare):
    words = ("ood-detect", bare, "--ood", "interpolation", "--score", "knn", "--json", "--quiet")
    first, again, other = ssl(*words), ssl(*words), ssl(*words, "--seed", 1)
    assert first.json["results"] == again.json["results"] != other.json["results"]


def test_wrong_use_is_told_before_any_work(ssl, bare):
    for words, code, told in (
        (["--score", "knm"], 2, "did you mean knn?"),
        (["--score", "energy", "--ood", "constant"], 2, "energy does not apply"),
        (["--require", "auroc"], 2, "no requirement"),
        (["--ood", "uniform-nose"], 3, "no such data set"),
        (["--ood", "jigsaw"], 3, "no such data set"),  # what tunes scores tests none
    ):
        outcome = ssl("ood-detect", bare, *words)
        assert outcome.code == code, words
        assert told in outcome.err


def test_one_training_image_is_too_few(ssl, bare, photos, tmp_path):
    for part in ("train", "test"):
        (tmp_path / "two" / part / "cats").mkdir(parents=True)
        shutil.copy(photos / "cats" / "0.png", tmp_path / "two" / part / "cats")
    outcome = ssl("ood-detect", bare, "--data", tmp_path / "two", "--ood", "constant")
    assert outcome.code == 3
    assert "too few training images" in outcome.err


def test_a_dry_run_lists_images_and_encodes_none(ssl, bare):
    outcome = ssl("ood-detect", bare, "--dry-run", "--json")
    assert outcome.json["images"] == {"train": 1442, "test": 355, **dict.fromkeys(KINDS, 355)}
    assert not (bare / "features").exists()


def test_sets_get_short_names_and_whole_ones_where_those_are_not_unique():
    assert names(["svhn", "constant", "my photos.tar"]) == ["svhn", "constant", "my-photos"]
    assert names(["/a/test.tar", "/b/test.tar"]) == ["a/test.tar", "b/test.tar"]
    assert names(["..", "x/train-*.tar"]) == ["data", "train"]
    assert names(["d/my photos", "d/my-photos"]) == ["d/my-photos", "d/my-photos-2"]
    assert names(["a/b.tar", "c/b.tar", "a-b"]) == ["a/b.tar", "c/b.tar", "a-b"]
    assert names(["x/a/b", "y/b", "x-a-b"]) == ["x/a/b", "y/b", "x-a-b-2"]  # figures are files
    assert names(["x/constant", "constant"]) == ["x/constant", "constant"]


def test_a_score_that_does_not_apply_fails_its_gate_with_the_reason(ssl, bare):
    words = ("--ood", "constant", "--no-tune", "--require")
    outcome = ssl("ood-detect", bare, *words, "auroc/energy>=0.5")
    assert outcome.code == 5
    assert "auroc/energy was not measured: the checkpoint has no linear classifier" in outcome.err
    outcome = ssl("ood-detect", bare, *words, "top1>=0.5")
    assert outcome.code == 5
    assert "top1 was not measured: there is no classifier" in outcome.err


def test_the_help_names_every_score_and_every_far_set():
    scores, sets = (
        ood_detect.__annotations__[name].__metadata__[0].help for name in ("score", "ood")
    )
    assert scores.removesuffix(". Repeatable.").split(", ") == [score.name for score in SCORES]
    assert sets.removesuffix(". Repeatable.").split(", ")[1:] == ["or " + KINDS[0], *KINDS[1:]]


def test_python_finds_what_the_command_prints(ssl, classifier):
    words = ("--ood", "constant", "--ood", "interpolation", "--score", "knn", "--score", "msp")
    told = ssl("ood-detect", classifier, *words, "--json").json
    found = sslcli.ood_detect(classifier, ood=["constant", "interpolation"], score=["knn", "msp"])
    assert found.metrics() == told["metrics"]
    assert json.loads(json.dumps(found.rows())) == told["results"]
    assert {name: list(ends) for name, ends in found.intervals().items()} == told["intervals"]
    assert found.protocol == told["protocol"]


def test_python_warns_by_warnings_of_labels_that_were_seen(ssl, classifier, tmp_path):
    shutil.copy(classifier / "checkpoint.safetensors", tmp_path)
    assert ssl("calibrate", tmp_path, "--store", "--quiet").code == 0
    with pytest.warns(UserWarning, match="fitted on 179 of the inside images"):
        found = sslcli.ood_detect(tmp_path, ood="constant", score="msp", tune=False)
    assert found.calibrator.calibrator.method == "temperature"


@pytest.mark.skipif("SSL_DATA" not in os.environ, reason="needs SSL_DATA")
def test_photos_are_far_from_digits(ssl, bare):
    archive = Path(os.environ["SSL_DATA"]) / "flickr8k" / "dev.tar"
    words = ("--score", "mahalanobis", "--ood", archive, "--json")
    metrics = ssl("ood-detect", bare, *words).json["metrics"]
    assert metrics["auroc/mahalanobis/dev"] > 0.95
