"""Classifiers of other codes, imported: what `ssl` measures of them, and what it refuses."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sslcli.config.encoder import EncoderConfig
from sslcli.engine.checkpoint import load_checkpoint
from sslcli.nn.encoders import build_encoder

sys.path.insert(0, str(Path(__file__).parent.parent / "nn" / "foreign"))
from layouts import below, jem, torchvision

WIDE = {"name": "wrn-10-1", "norm": "none", "activation": "leaky-relu"}
CIFAR = {"name": "resnet10", "width": 8, "stem": "cifar"}
SMALL = ("--set", "data.image_size=8", "--set", "data.resize=8")
SAMPLES = torch.rand(64, 3, 8, 8) * 2 - 1
LINEAR = {"weight": torch.randn(10, 64), "bias": torch.randn(10)}


def linear(name, classes=10):
    return {f"{name}.{part}": x[:classes].clone() for part, x in LINEAR.items()}


def network(settings):
    torch.manual_seed(3)
    return build_encoder(EncoderConfig(**settings), 8).eval()


@pytest.fixture(scope="module")
def imported(tmp_path_factory, run_once):
    """Return runs of JEM's file, and of torchvision's with ten and with seven classes."""
    home = tmp_path_factory.mktemp("weights")
    theirs = jem(network(WIDE).state_dict())["model_state_dict"] | linear("class_output")
    files = {"jem": below("model_state_dict.", theirs) | {"replay_buffer": SAMPLES}}
    for classes in (10, 7):
        files[f"tv{classes}"] = torchvision(network(CIFAR).state_dict()) | linear("fc", classes)
    for name, tensors in files.items():
        whole = {each: x.clone().contiguous() for each, x in tensors.items()}
        save_file(whole, file := home / f"{name}.safetensors")
        run_once("import", file, "--out", home / file.stem, *SMALL)
    return home


def test_jems_classifier_and_samples_are_kept_as_a_run_of_jem(imported):
    run = load_checkpoint(imported / "jem")
    assert (run.config.method.name, run.config.method.num_classes) == ("jem", 10)
    assert run.facts["imported"]["classes"] == 10
    tensors = run.tensors()
    assert torch.equal(tensors["sampling.replay.images"], SAMPLES)
    assert tensors["sampling.replay.age"].tolist() == [1] * 64
    for part, tensor in LINEAR.items():
        assert torch.equal(tensors[f"classifier.{part}"], tensor)


@pytest.mark.parametrize(
    "words",
    [
        ("calibrate", "--method", "none"),
        ("ood-detect", "--ood", "constant", "--score", "maxlogit", "--score", "log-p"),
        ("robust-eval", "--count", 8, "--eps", 8, "--eps-l2", 1, "--steps", 1, "--restarts", 1,
         "--corruption", "none", "--refine", 1, "--replicas", 1, "--verdicts", 1),
        ("sample-sgld", "--count", 2, "--steps", 2, "--start", "buffer"),
    ],
    ids=lambda words: words[0],
)  # fmt: skip
def test_all_that_takes_a_jem_takes_an_imported_one(ssl, imported, words):
    done = ssl(words[0], imported / "jem", "--data", "digits", *words[1:], "--json")
    assert done.code == 0, done.err
    if words[0] in ("calibrate", "robust-eval", "ood-detect"):
        assert done.err.count("have no names: taken in the data's order") == 1


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("tv10", ("calibrate", "--method", "none", "--encoder", "resnet10")),
        ("jem", ("sample-sgld", "--count", 2, "--steps", 2)),
    ],
    ids=["calibrate", "sample-sgld"],
)
def test_a_file_is_taken_in_one_go(ssl, imported, tmp_path, monkeypatch, file, words):
    monkeypatch.chdir(tmp_path)
    command, *more = words
    whole = (imported / f"{file}.safetensors", "--data", "digits", *more, *SMALL)
    planned = ssl(command, *whole, "--dry-run")
    assert planned.code == 0, planned.err
    assert not list(tmp_path.iterdir())
    done = ssl(command, *whole, "--json")
    assert done.code == 0, done.err
    (run,) = (tmp_path / "runs").iterdir()
    assert done.err.count(f"is imported as runs/{run.name}") == 1
    assert done.json["checkpoint"].startswith(f"runs/{run.name}")
    ours = ssl(command, run, "--encoder", "resnet18", "--data", "digits")
    assert ours.code == 2
    assert "knows its encoder" in ours.err


def test_probabilities_are_those_of_the_network_in_the_file(ssl, imported, tmp_path):
    out = tmp_path / "e.npz"
    done = ssl("embed", imported / "tv10", "--data", "digits", "--out", out, "--precision", "fp32")
    assert done.code == 0, done.err
    with np.load(out) as found:
        features, probabilities = map(torch.tensor, (found["features"], found["probabilities"]))
        assert list(found["classifier_classes"]) == [str(digit) for digit in range(10)]
    expected = (features @ LINEAR["weight"].T + LINEAR["bias"]).softmax(dim=1)
    torch.testing.assert_close(probabilities, expected, atol=1e-5, rtol=1e-4)


def test_a_student_learns_from_it(ssl, imported):
    done = ssl("distill", imported / "tv10", "--data", "digits", "--dry-run", "--json")
    assert done.code == 0, done.err


@pytest.mark.parametrize("command", ["calibrate", "robust-eval", "distill"])
def test_data_of_another_number_of_classes_is_refused(ssl, imported, command):
    done = ssl(command, imported / "tv7", "--data", "digits")
    assert done.code == 2
    assert "no names" in done.err


def test_without_its_classes_a_classifier_still_tells_inside_from_outside(ssl, imported):
    words = ("--data", "digits", "--ood", "constant", "--score", "maxlogit")
    done = ssl("ood-detect", imported / "tv7", *words)
    assert done.code == 0, done.err
    assert "there is no accuracy inside" in done.err
