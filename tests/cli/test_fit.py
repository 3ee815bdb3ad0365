"""A training that cannot fit ends before it starts, and says what would fit; --fit does it."""

import pytest

import sslcli
from sslcli.config.presets import resolve
from sslcli.engine.checkpoint import load_checkpoint

SMALL = "0.1"  # GiB, which a batch of 1,024 exceeds
LARGE = ("--set", "train.batch_size=1024")
SHORT = ("--set", 'train.duration="2 steps"', "--device", "cpu", "--precision", "fp32")


@pytest.fixture
def little(monkeypatch):
    monkeypatch.setenv("SSL_MEMORY_GIB", SMALL)


def config_of(run):
    return resolve(config_file=run / "config.toml").config


def test_it_ends_with_exit_4_and_leaves_nothing(ssl, tmp_path, little):
    outcome = ssl(
        "pretrain", "--preset", "simclr/digits", "--out", tmp_path / "run", *SHORT, *LARGE
    )
    assert outcome.code == 4
    assert "102 MiB are free as SSL_MEMORY_GIB says" in outcome.err
    assert "--chunk-size" in outcome.err
    assert "--set train.accumulate=" in outcome.err
    assert "--fit" in outcome.err
    assert not list(tmp_path.iterdir())


def test_a_plan_shows_both_and_what_would_fit_does(ssl, tmp_path, little):
    words = ("pretrain", "--preset", "simclr/digits", "--dry-run", *SHORT, *LARGE)
    outcome = ssl(*words, "--json")
    assert outcome.code == 0
    memory = outcome.json["memory"]
    assert memory["fits"] is False
    assert memory["needed"] > memory["free"] == int(float(SMALL) * 2**30)
    way = memory["would_fit"][0]
    changes = [word for key, value in way["set"].items() for word in ("--set", f"{key}={value}")]
    printed = ssl(*words, *changes).out
    assert "free memory\t102.4 MiB as SSL_MEMORY_GIB says\nfits\tyes" in printed
    assert f"memory per process\t{way['needed'] / 2**20:,.1f} MiB" in printed
    assert "would fit" not in printed


def test_fit_trains_and_a_resume_goes_on_the_same(ssl, tmp_path, little):
    run = tmp_path / "run"
    words = ("pretrain", "--preset", "simclr/digits", "--out", run, *SHORT, *LARGE, "--fit")
    outcome = ssl(*words)
    assert outcome.code == 0, outcome.err
    assert "to fit: --chunk-size" in outcome.err
    chosen = config_of(run)
    assert chosen.train.chunk_size < chosen.train.batch_size
    more = [word.replace("2 steps", "3 steps") for word in map(str, words)]
    resumed = ssl(*more, "--resume")
    assert resumed.code == 0, resumed.err
    assert config_of(run).train.chunk_size == chosen.train.chunk_size
    assert load_checkpoint(run).facts["step"] == 3


def test_evaluations_that_train_are_held_to_it_too(ssl, run_once, tmp_path, monkeypatch):
    run_once("pretrain", "--preset", "simsiam/digits", "--out", tmp_path / "run", *SHORT)
    monkeypatch.setenv("SSL_MEMORY_GIB", "0.04")
    words = ("finetune", tmp_path / "run", "--set", 'evaluation.finetune.duration="2 steps"')
    words += ("--set", "evaluation.finetune.batch_size=512")
    refused = ssl(*words)
    assert refused.code == 4
    assert "evaluation.finetune.accumulate=" in refused.err
    assert not (tmp_path / "run" / "finetune").exists()
    fitted = ssl(*words, "--fit")
    assert fitted.code == 0, fitted.err
    assert config_of(tmp_path / "run" / "finetune").train.accumulate > 1


def test_fit_is_no_option_of_cached_features(ssl, tmp_path):
    outcome = ssl("linear-eval", tmp_path, "--fit")
    assert outcome.code == 2
    assert "--protocol paper" in outcome.err


def test_a_limit_that_is_no_number_is_wrong_use(ssl, monkeypatch, tmp_path):
    monkeypatch.setenv("SSL_MEMORY_GIB", "lots")
    outcome = ssl("pretrain", "--preset", "simsiam/digits", "--out", tmp_path / "run", *SHORT)
    assert outcome.code == 2
    assert "SSL_MEMORY_GIB" in outcome.err


def test_the_python_door_fits_too(tmp_path, little):
    changes = {"train.duration": "1 steps", "train.batch_size": 1024}
    run = sslcli.pretrain(
        preset="simclr/digits", out=tmp_path / "run", overrides=changes, fit=True, precision="fp32"
    )
    assert run.config.train.chunk_size


@pytest.mark.parametrize("line", ["", "        print(encoder.conv1.weight.sum().item())"])
def test_a_method_that_looks_at_values_is_trained_unchecked(ssl, tmp_path, little, line):
    (tmp_path / "mine.py").write_text(CODE.replace("        # look", line))
    words = ("pretrain", "--method", f"{tmp_path / 'mine.py'}:Mine", "--out", tmp_path / "run")
    outcome = ssl(*words, "--data", "digits", *SHORT, *LARGE)
    assert outcome.code == 0, outcome.err
    assert "memory is not checked" in outcome.err


CODE = """
from sslcli.config.section import MethodSection
from sslcli.methods.base import Method, Output


class Mine(Method):
    class Section(MethodSection):
        pass

    def __init__(self, config, encoder):
        super().__init__()
        self.encoder = encoder
        # look

    def forward(self, batch, progress):
        features = self.encoder(batch.views[0])
        if features.sum().item() > 1e9:
            return Output(features.mean())
        return Output(features.square().mean())
"""
