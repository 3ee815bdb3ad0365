"""The stages of SimCLR v2 after pre-training: a head layer that is kept, and distillation."""

import pytest
import torch
from PIL import Image

from sslcli import assemble
from sslcli.config.presets import resolve
from sslcli.config.section import DataFacts
from sslcli.engine.checkpoint import load_checkpoint, save_checkpoint

TUNE = ("--set", 'evaluation.finetune.duration="2 epochs"')
TEACH = ("--set", 'evaluation.distill.duration="2 epochs"')


@pytest.fixture(scope="module")
def teacher(trained, tmp_path_factory, run_once):
    """Return a run that was fine-tuned from the first head layer; tests must not change it."""
    folder = tmp_path_factory.mktemp("runs") / "teacher"
    run_once("finetune", trained, "--from-head-layer", 1, "--out", folder, *TUNE, "--quiet")
    return folder


@pytest.fixture(scope="module")
def unlabelled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for index in range(160):
        Image.new("L", (8, 8), index).save(folder / f"{index}.png")
    return folder


def test_a_head_layer_is_kept_below_the_classifier(trained, teacher):
    start, tuned = load_checkpoint(trained), load_checkpoint(teacher)
    (layer,) = tuned.config.method.head
    assert (layer.width, layer.bias, layer.norm) == (256, False, True)
    head, kept = start.tensors("projector."), tuned.tensors("classifier.")
    assert set(kept) == {n for n in head if n[0] in "01"} | {"3.weight", "3.bias"}
    near = torch.cosine_similarity(head["0.weight"].flatten(), kept["0.weight"].flatten(), dim=0)
    assert near > 0.9  # two epochs later
    assert kept["3.weight"].shape == (10, 256)


def test_a_layer_that_the_head_does_not_have_is_told(ssl, trained, tmp_path):
    outcome = ssl("finetune", trained, "--from-head-layer", 2, "--out", tmp_path / "run", *TUNE)
    assert outcome.code == 2
    assert "simsiam's head cannot be kept: it has 1 hidden layer" in outcome.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("method", "code", "told"),
    [
        ("directpred", 0, ""),
        ("moco-v2", 0, ""),
        ("dino", 0, ""),
        ("moco-v1", 2, "moco-v1's head cannot be kept: it has no hidden layer"),
        ("jem", 2, "jem has no projection head"),
    ],
)
def test_each_methods_head_is_kept_or_the_reason_is_told(ssl, tmp_path, method, code, told):
    config = resolve(f"{method}/digits").config
    built = assemble.build_method(config, facts=DataFacts(rows=48))
    save_checkpoint(tmp_path / "checkpoint.safetensors", built.state_dict(), config, {})
    outcome = ssl("finetune", tmp_path, "--from-head-layer", 1, "--dry-run", "--precision", "fp32")
    assert outcome.code == code
    assert told in outcome.err


def test_a_smaller_student_learns_from_the_teacher(ssl, teacher, tmp_path):
    words = ("--set", "encoder.width=8", *TEACH, "--out", tmp_path / "student")
    outcome = ssl("distill", teacher, *words, "--json")
    assert outcome.code == 0
    metrics = outcome.json["metrics"]
    assert metrics["n"] == 355
    assert metrics["top1_teacher"] > 0.15
    assert {"top1", "agreement"} <= metrics.keys()
    student = load_checkpoint(tmp_path / "student")
    assert student.tensors("classifier.")["weight"].shape == (10, 32)
    assert ssl("calibrate", tmp_path / "student", "--quiet").code == 0
    assert ssl("distill", tmp_path / "student", "--dry-run").code == 0  # it can teach in turn


def test_images_without_labels_are_enough(ssl, teacher, unlabelled, tmp_path):
    words = ("--data", unlabelled, *TEACH, "--out", tmp_path / "student", "--json")
    outcome = ssl("distill", teacher, *words)
    assert outcome.code == 0
    measured = {name for name, value in outcome.json["metrics"].items() if value is not None}
    assert measured == {"agreement", "n"}
    facts = load_checkpoint(tmp_path / "student").facts
    assert facts["data"]["classes"] == load_checkpoint(teacher).facts["data"]["classes"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--set", "evaluation.distill.alpha=0.5"), "has none, or other classes"),
        (("--set", "evaluation.distill.alpha=2"), "alpha"),
    ],
)
def test_labels_must_be_the_teachers(ssl, teacher, unlabelled, words, told):
    outcome = ssl("distill", teacher, "--data", unlabelled, *words)
    assert outcome.code == 2
    assert told in outcome.err


def test_a_run_without_a_classifier_teaches_nothing(ssl, trained, tmp_path):
    outcome = ssl("distill", trained, "--out", tmp_path / "student")
    assert outcome.code == 2
    assert "ssl finetune" in outcome.err
