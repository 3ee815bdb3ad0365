"""`ssl import`, the evaluations that take what it makes, and `--init`."""

import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from sslcli.config.encoder import EncoderConfig
from sslcli.engine.checkpoint import load_checkpoint
from sslcli.nn.encoders import build_encoder

sys.path.insert(0, str(Path(__file__).parent.parent / "nn" / "foreign"))
from layouts import dino, moco

CIFAR = {"name": "resnet10", "width": 8, "stem": "cifar"}
VIT = {"name": "vit-2-64-1", "patch_size": 8}
SMALL = ("--set", "data.image_size=8", "--set", "data.resize=8")  # digits as they are


def weights(settings):
    torch.manual_seed(3)
    return build_encoder(EncoderConfig(**settings), 32).state_dict()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Return a folder with weights as two codes save them."""
    folder = tmp_path_factory.mktemp("weights")
    torch.save(moco(weights(CIFAR)), folder / "moco.pth.tar")
    flat = {f"teacher.{n}": x for n, x in dino(weights(VIT))["teacher"].items()}
    save_file({n: x.contiguous() for n, x in flat.items()}, folder / "dino.safetensors")
    save_file({n: x.clone() for n, x in weights(CIFAR).items()}, folder / "bare.safetensors")
    flat = moco(weights(CIFAR))["state_dict"]
    save_file({n: x.clone() for n, x in flat.items()}, folder / "moco.safetensors")
    return folder


@pytest.fixture(scope="module")
def imported(files, tmp_path_factory, run_once):
    """Return runs that were imported from those files."""
    home = tmp_path_factory.mktemp("runs")
    run_once("import", files / "moco.pth.tar", "--out", home / "moco", "--licence", "CC", *SMALL)
    run_once("import", files / "dino.safetensors", "--out", home / "dino")
    return home


def test_a_run_has_the_weights_and_says_where_they_came_from(files, imported):
    run = load_checkpoint(imported / "moco")
    expected = weights(CIFAR)
    found = run.tensors("encoder.")
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in found)
    facts = run.facts["imported"]
    assert facts["source"] == str(files / "moco.pth.tar")
    assert len(facts["sha256"]) == 64
    assert facts["licence"] == "CC"
    assert facts["prefix"] == "state_dict.module.encoder_q."
    assert (run.config.preset, run.config.method.name) == ("moco-v2/cifar10", "imported")


def test_it_says_what_was_found_chosen_and_left(ssl, files, tmp_path):
    done = ssl("import", files / "moco.safetensors", "--out", tmp_path / "run")
    assert done.code == 0
    assert "stem = cifar" in done.err
    assert "moco-v2/cifar10, because the names are those of MoCo's code" in done.err
    assert "below 'module.encoder_q.'" in done.out
    assert "encoder_k" in done.out
    found = ssl(
        "import", files / "moco.safetensors", "--out", tmp_path / "dry", "--dry-run", "--json"
    )
    assert found.json["encoder"] == "resnet10"
    assert found.json["loaded"] == len(weights(CIFAR))
    assert found.json["checkpoint"] == str(tmp_path / "dry" / "checkpoint.safetensors")
    assert not (tmp_path / "dry").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("knn-eval", "--k", 5, "--baseline"),
        ("linear-eval",),
        ("ood-detect", "--ood", "constant", "--score", "knn"),
        ("embed", "--out", "features.npz", "--overwrite"),
    ],
    ids=lambda words: words[0],
)
def test_every_evaluation_takes_it_with_data_and_asks_for_data(
    ssl, imported, tmp_path, monkeypatch, words
):
    monkeypatch.chdir(tmp_path)
    done = ssl(words[0], imported / "moco", "--data", "digits", *words[1:])
    assert done.code == 0, done.err
    without = ssl(words[0], imported / "moco", *words[1:])
    assert without.code == 2, without.err
    assert "nothing says which data to use" in without.err
    assert "--data" in without.err


def test_it_is_exported_fine_tuned_and_looked_into(ssl, imported, tmp_path):
    assert ssl("export", imported / "moco", "--out", tmp_path / "e.safetensors").code == 0
    small = ("--set", 'evaluation.finetune.duration="1 steps"', "--set",
             "evaluation.finetune.batch_size=16")  # fmt: skip
    tuned = ssl("finetune", imported / "moco", "--data", "digits", "--out", tmp_path / "t", *small)
    assert tuned.code == 0, tuned.err
    assert ssl("calibrate", tmp_path / "t", "--method", "none").code == 0
    drawn = ssl("attention", imported / "dino", "--data", "digits", "--count", 2,
                "--out", tmp_path / "a.png")  # fmt: skip
    assert drawn.code == 0, drawn.err
    assert (tmp_path / "a.png").stat().st_size > 1000


def test_a_dry_run_in_one_go_writes_nothing(ssl, files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = (files / "bare.safetensors", "--data", "digits", "--dry-run", *SMALL)
    for command in ("knn-eval", "linear-eval", "embed"):
        done = ssl(command, *words, *(("--out", "e.npz") if command == "embed" else ()))
        assert done.code == 0, done.err
    assert not list(tmp_path.iterdir())


def test_weights_are_evaluated_in_one_go_and_read_once(ssl, files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ("knn-eval", files / "bare.safetensors", "--encoder", "resnet10", "--data", "digits",
             "--k", 5, *SMALL)  # fmt: skip
    first = ssl(*words, "--json")
    assert first.code == 0, first.err
    (run,) = (tmp_path / "runs").iterdir()
    assert f"is imported as runs/{run.name}" in first.err
    written = (run / "checkpoint.safetensors").stat().st_mtime_ns
    assert ssl(*words, "--json").json["metrics"] == first.json["metrics"]
    assert (run / "checkpoint.safetensors").stat().st_mtime_ns == written


def test_a_checkpoint_of_ours_takes_no_encoder(ssl, imported):
    done = ssl("knn-eval", imported / "moco", "--encoder", "resnet18", "--data", "digits")
    assert done.code == 2
    assert "knows its encoder" in done.err
    for ours in (imported / "moco", imported / "moco" / "checkpoint.safetensors"):
        done = ssl("import", ours)
        assert done.code == 2
        assert "already" in done.err


def test_what_is_no_method_is_not_trained(ssl, imported, tmp_path):
    for words in (("--config", imported / "moco" / "config.toml", "--data", "digits", "--out",
                   tmp_path / "x"),
                  ("--resume", "--out", imported / "moco")):  # fmt: skip
        done = ssl("pretrain", *words)
        assert done.code == 2
        assert "--init" in done.err
    done = ssl("sample-sgld", imported / "moco")
    assert done.code == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("bare.safetensors", "--encoder", "resnet18"), "what fits is resnet10 (stem = cifar"),
        (("bare.safetensors", "--encoder", "resnet99"), "no encoder is called"),
        (
            ("bare.safetensors", "--preset", "simsiam/imagenet"),
            "what fits is resnet10 (",
        ),
        (("bare.safetensors", "--key", "student"), "nothing lies below 'student'"),
        (("bare.safetensors", "--set", "data.sizes=3"), "data.sizes"),
        (("text.pth",), "no readable file of weights"),
        (("other.safetensors",), "no encoder of ours has such names: a, b"),
        (("none.pth",), "does not exist"),
        ((".",), "holds no weights"),
        (("hf:no-such-org/no-such-model",), "not in the cache"),
    ],
    ids=lambda each: each[0] if isinstance(each, tuple) else "",
)
def test_bad_input_is_told_in_one_message_and_leaves_nothing(
    ssl, files, tmp_path, monkeypatch, words, said
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bare.safetensors").write_bytes((files / "bare.safetensors").read_bytes())
    (tmp_path / "text.pth").write_text("these are no weights")
    save_file({"a": torch.ones(2), "b": torch.ones(2)}, tmp_path / "other.safetensors")
    done = ssl("import", *words, "--out", "made")
    assert done.code == 2
    assert said in done.err
    assert done.err.count("error:") == 1
    assert not (tmp_path / "made").exists()


def test_pretraining_starts_from_weights_and_keeps_where_they_came_from(ssl, imported, tmp_path):
    run = tmp_path / "run"
    words = ("pretrain", "--preset", "moco-v2/digits", "--out", run, "--set", "encoder.width=8",
             "--set", 'encoder.name="resnet10"', "--set", 'encoder.stem="cifar"',
             "--set", "train.batch_size=16", "--set", "optimizer.base_lr=1e-12")  # fmt: skip
    short = ("--set", 'train.duration="1 steps"')
    done = ssl(*words, *short, "--init", imported / "moco")
    assert done.code == 0, done.err
    assert f"the encoder starts from {imported / 'moco'}" in done.err
    checkpoint = load_checkpoint(run)
    found = checkpoint.tensors("encoder.")["layer1.0.conv1.weight"]
    assert torch.allclose(found, weights(CIFAR)["layer1.0.conv1.weight"], atol=1e-6)
    assert checkpoint.facts["init"]["source"] == str(imported / "moco")
    assert len(checkpoint.facts["init"]["sha256"]) == 64
    longer = ssl("pretrain", "--resume", "--out", run, "--set", 'train.duration="2 steps"')
    assert longer.code == 0, longer.err
    assert "starts from" not in longer.err
    assert load_checkpoint(run).facts["init"] == checkpoint.facts["init"]


def test_what_a_start_has_learned_is_remembered(ssl, imported, tmp_path, run_once):
    tuned, run = tmp_path / "tuned", tmp_path / "run"
    short = ("--set", 'evaluation.finetune.duration="1 steps"', "--set",
             "evaluation.finetune.batch_size=16")  # fmt: skip
    run_once("finetune", imported / "moco", "--data", "digits", "--out", tuned, *short)
    done = ssl("pretrain", "--preset", "simsiam/digits", "--out", run, "--init", tuned,
               "--set", "encoder.width=8", "--set", 'encoder.name="resnet10"',
               "--set", 'encoder.stem="cifar"', "--set", "train.batch_size=16",
               "--set", 'train.duration="1 steps"')  # fmt: skip
    assert done.code == 0, done.err
    learned = load_checkpoint(run).facts["learned"]
    assert [each["source"] for each in learned] == ["digits"]
