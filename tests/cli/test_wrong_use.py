"""Every fault of the user: the right exit code, what, where and a hint, and nothing written."""

import json
import os

import pytest
import torch
from safetensors.torch import save_file

PRETRAIN = ("pretrain", "--method", "simsiam", "--data", "digits")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["pretrian"], 2, "Did you mean 'pretrain'"),
        (["pretrain"], 2, "nothing says what to train"),
        (["pretrain", "--nope"], 2, "--nope"),
        (["pretrain", "--method", "simsiom"], 2, "simsiom"),
        (["pretrain", "--preset", "simsiam/cifar1"], 2, "did you mean simsiam/cifar10"),
        (["pretrain", "--preset", "byol/x", "--method", "simsiam"], 2, "--preset"),
        ([*PRETRAIN, "--precision", "bf61"], 2, "did you mean bf16"),
        ([*PRETRAIN, "--on-collapse", "wran"], 2, "did you mean warn"),
        ([*PRETRAIN, "--max-time", "3x"], 2, "--max-time"),
        ([*PRETRAIN, "--keep", "0"], 2, "--keep"),
        ([*PRETRAIN, "--device", "gpu"], 2, "no device"),
        ([*PRETRAIN, "--device", "cuda:99"], 4, "CUDA devices"),
        ([*PRETRAIN, "--config", "nofile.toml"], 2, "nofile.toml"),
        ([*PRETRAIN, "--resume"], 2, "--out"),
        ([*PRETRAIN, "--resume", "--out", "nothing"], 2, "no run to resume"),
        ([*PRETRAIN, "--resume", "--overwrite", "--out", "nothing"], 2, "--overwrite"),
        ([*PRETRAIN, "--data", "digitz"], 3, "did you mean digits"),
        ([*PRETRAIN, "--data", "empty"], 3, "no images"),
        ([*PRETRAIN, "--out", "file"], 2, "already holds something"),
        ([*PRETRAIN, "--out", "file/below"], 4, "file/below"),
        (["pretrain", "--preset", "simsiam/digits", "--data", "nowhere"], 3, "nowhere"),
        ([*PRETRAIN, "--set", "train.batch_size=99999"], 2, "train.batch_size"),
        ([*PRETRAIN, "--set", 'train.duration="0 epochs"'], 2, "train.duration"),
        (["knn-eval"], 2, "CKPT"),
        (["knn-eval", "nowhere"], 2, "no checkpoint"),
        (["knn-eval", "empty"], 2, "no checkpoint"),
        (["knn-eval", "file"], 2, "cannot be read"),
        (["presets", "show", "simsiam/digts"], 2, "did you mean simsiam/digits"),
        (["presets", "copy", "simsiam/digits", "mine"], 2, "mine.toml"),
        (["presets", "copy", "simsiam/digits", "file.toml"], 2, "exists"),
        (["data", "check", "nowhere"], 3, "nowhere"),
    ],
)
def test_wrong_use_is_explained_and_leaves_nothing(ssl, tmp_path, monkeypatch, words, code, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "file.toml").touch()
    before = sorted(tmp_path.rglob("*"))
    outcome = ssl(*words)
    assert outcome.code == code
    assert "error: " in outcome.err
    assert said in outcome.err
    assert sorted(tmp_path.rglob("*")) == before


def test_all_faults_of_a_config_are_told_at_once(ssl):
    outcome = ssl(*PRETRAIN, "--set", "train.lr=1", "--set", "optimizer.base_lr=x", "--json")
    assert outcome.code == 2
    assert outcome.json["exit_code"] == 2
    assert len(outcome.json["errors"]) == 2
    assert outcome.err.count("error: ") == 2


def test_overwrite_spares_a_folder_that_is_no_run(ssl, tmp_path):
    (tmp_path / "thesis.tex").touch()
    assert ssl(*PRETRAIN, "--out", tmp_path, "--overwrite").code == 2
    assert (tmp_path / "thesis.tex").exists()


def _header(**described):
    return {"sslcli": json.dumps(described)}


@pytest.mark.parametrize(
    ("name", "metadata", "said"),
    [
        ("bare.safetensors", None, "no encoder of ours has such names: a"),
        ("torn.safetensors", {"sslcli": "{torn"}, "description cannot be read"),
        ("list.safetensors", {"sslcli": "[1]"}, "description cannot be read"),
        ("deep.safetensors", {"sslcli": "[" * 9999}, "description cannot be read"),
        (
            "config.safetensors",
            _header(schema=1, config={}, facts={}),
            "config.method: Field required",
        ),
        ("new.safetensors", _header(schema=99), "newer sslcli"),
        ("other.pt", None, "no encoder of ours has such names: a"),
    ],
)
def test_a_strange_checkpoint_is_refused(ssl, tmp_path, name, metadata, said):
    save_file({"a": torch.zeros(2)}, tmp_path / name, metadata)
    outcome = ssl("knn-eval", tmp_path / name)
    assert outcome.code == 2
    assert said in outcome.err


@pytest.mark.parametrize("size", [0, 5, 1000, 300_000])
def test_a_truncated_checkpoint_is_refused(ssl, trained, tmp_path, size):
    whole = (trained / "checkpoint.safetensors").read_bytes()
    (tmp_path / "checkpoint.safetensors").write_bytes(whole[:size])
    outcome = ssl("embed", tmp_path, "--out", tmp_path / "f.npz")
    assert outcome.code == 2
    assert "cannot be read" in outcome.err
    assert not (tmp_path / "f.npz").exists()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["knn-eval", "--require", "top9>=0.5"], 2, "did you mean 'top5'"),
        (["knn-eval", "--require", "top1"], 2, "no requirement"),
        (["knn-eval", "--require", "top1_pixels>0"], 2, "no metric"),
        (["knn-eval", "--k", "9999"], 2, "9999"),
        (["knn-eval", "--temperature", "nan"], 2, "--temperature"),
        (["knn-eval", "--set", "evaluation.kk=1"], 2, "did you mean evaluation.k"),
        (["linear-eval", "--seeds", "4-0"], 2, "backwards"),
        (["linear-eval", "--protocol", "papr"], 2, "did you mean paper"),
        (["linear-eval", "--max-time", "3s"], 2, "--protocol paper"),
        (["linear-eval", "--resume"], 2, "--protocol paper"),
        (["linear-eval", "--require", "l3<1"], 2, "'l2'"),
        (["finetune", "--label-fraction", "0"], 2, "--label-fraction"),
        (["finetune", "--label-fraction", "1.5"], 2, "--label-fraction"),
        (["finetune", "--resume"], 2, "no run to resume"),
        (["export", "--format", "onxx"], 2, "did you mean onnx"),
        (["export", "--format", "timm"], 2, "--format"),
        (["embed", "--out", "f.txt"], 2, ".npz"),
    ],
)
def test_wrong_options_fail_before_any_work(ssl, trained, words, code, said):
    results = (trained / "results.jsonl").exists()
    outcome = ssl(words[0], trained, *words[1:])
    assert outcome.code == code
    assert said in outcome.err
    assert outcome.out == ""
    assert (trained / "results.jsonl").exists() == results


def test_a_metric_that_the_classes_do_not_allow_fails_before_any_work(ssl, trained, photos):
    outcome = ssl("knn-eval", trained, "--data", photos, "--require", "top5>0", "--k", 3)
    assert outcome.code == 2
    assert outcome.out == ""


def test_data_without_labels_is_refused_at_once(ssl, trained, photos):
    for command in ("knn-eval", "linear-eval", "finetune"):
        outcome = ssl(command, trained, "--data", photos / "cats")
        assert outcome.code == 2
        assert "needs labels" in outcome.err


def test_an_unforeseen_error_is_our_fault_and_kept_in_a_file(ssl, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("sslcli.config.presets.list_presets", lambda: 1 / 0)
    outcome = ssl("presets", "list", "--json")
    assert outcome.code == 1
    (log,) = tmp_path.iterdir()
    assert str(log) in outcome.json["errors"][0]["where"]
    assert "ZeroDivisionError" in log.read_text()


def test_too_little_memory_is_a_lack_of_resources(ssl, monkeypatch):
    def starve():
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 9 bytes")

    monkeypatch.setattr("sslcli.config.presets.list_presets", starve)
    assert ssl("presets", "list").code == 4


def test_a_full_disk_leaves_the_last_state(ssl, tmp_path, monkeypatch):
    from sslcli.engine import state

    calls = []

    def fill(tensors, path):
        calls.append(path)
        if len(calls) > 2:
            raise OSError(28, os.strerror(28))
        save_file(tensors, path)

    monkeypatch.setattr(state, "save_file", fill)
    run = tmp_path / "run"
    outcome = ssl(*PRETRAIN, "--out", run, "--set", 'train.checkpoint_every="5 steps"')
    assert outcome.code == 4
    assert "free some space" in outcome.err
    assert [folder.name for folder in (run / "state").iterdir()] == ["step-00000005"]
    assert (run / "checkpoint.safetensors").exists()
