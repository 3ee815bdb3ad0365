"""Weights and outputs that are not finite end every evaluation: none of them becomes a number."""

import pytest
import torch

from sslcli.engine.checkpoint import load_checkpoint, save_checkpoint

ON_ENCODER = (
    ("knn-eval",), ("linear-eval",), ("linear-eval", "--protocol", "paper"), ("finetune",),
    ("embed", "--out", "f.npz"), ("ood-detect", "--ood", "constant"), ("export",),
)  # fmt: skip
ON_CLASSIFIER = (
    ("calibrate",), ("calibrate", "--method", "none"), ("ood-detect", "--ood", "constant"),
    ("robust-eval", "--count", 5, "--eps", 8, "--eps-l2", "none", "--corruption", "none"),
    ("embed", "--out", "f.npz"), ("export", "--classifier", "--format", "pt2"),
)  # fmt: skip


@pytest.fixture
def altered(trained, tmp_path, monkeypatch):
    """Return a function that saves the run with a classifier, after tensors were changed."""
    monkeypatch.setenv("SSL_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)

    def save(change):
        whole = load_checkpoint(trained)
        tensors = whole.tensors()
        generator = torch.Generator().manual_seed(0)
        tensors["classifier.weight"] = torch.randn(10, 128, generator=generator)
        tensors["classifier.bias"] = torch.zeros(10)
        change(tensors)
        path = tmp_path / "run" / "checkpoint.safetensors"
        path.parent.mkdir(exist_ok=True)
        save_checkpoint(path, tensors, whole.config, whole.facts)
        return path.parent

    return save


@pytest.mark.parametrize("words", ON_ENCODER, ids=" ".join)
def test_an_encoder_with_a_nan_is_refused(ssl, altered, words):
    run = altered(lambda tensors: tensors["encoder.bn1.weight"].fill_(float("nan")))
    outcome = ssl(words[0], run, *words[1:])
    assert outcome.code == 2
    assert "not finite (encoder.bn1.weight)" in outcome.err
    assert outcome.out == ""


@pytest.mark.parametrize("words", ON_CLASSIFIER, ids=lambda words: words[0])
def test_a_classifier_with_an_infinity_is_refused(ssl, altered, words):
    run = altered(lambda tensors: tensors["classifier.bias"][:1].fill_(float("inf")))
    outcome = ssl(words[0], run, *words[1:])
    assert outcome.code == 2
    assert "not finite (classifier.bias)" in outcome.err
    assert outcome.out == ""


@pytest.mark.parametrize(
    "words",
    [("knn-eval",), ("embed", "--out", "f.npz"), ("calibrate",), ON_CLASSIFIER[3], ON_ENCODER[5]],
    ids=lambda words: words[0],
)
def test_finite_weights_that_overflow_are_told_with_what_helps(ssl, altered, words):
    run = altered(lambda tensors: tensors["encoder.bn1.weight"].fill_(3e38))
    outcome = ssl(words[0], run, *words[1:], "--precision", "fp32")
    assert outcome.code == 2
    assert "are not finite for" in outcome.err
    assert "training has diverged" in outcome.err
