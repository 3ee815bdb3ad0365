"""What a run has learned, as its checkpoint says or as an older version of it meant."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sslcli import assemble
from sslcli.config.presets import resolve
from sslcli.data.sources import open as sources
from sslcli.data.sources.open import ArraySource
from sslcli.data.sources.splits import open_splits
from sslcli.engine.checkpoint import Checkpoint, load_checkpoint
from sslcli.errors import CheckpointError, UsageError
from sslcli.evaluate.learned import LEARNED, Learned, expect_unseen, learned_of


@pytest.fixture
def whole(monkeypatch):
    """Put 40 labelled pictures without a test part where every path leads; return them."""

    def pictures(seed=0):
        pixels = np.random.default_rng(seed).integers(0, 256, (40, 3, 8, 8), dtype=np.uint8)
        return ArraySource("/photos", pixels, np.arange(40) % 2, ("cat", "dog"))

    source = pictures()
    source.other = pictures(1)
    monkeypatch.setattr(sources, "_open", lambda *_: source)
    return source


def config(method="supervised", **data):
    fields = {"data.source": "/photos", **{f"data.{name}": value for name, value in data.items()}}
    return resolve(f"{method}/digits", None, fields).config


def checkpoint(config, parent=None):
    facts = assemble.data_facts(config, assemble.open_training(config), parent)
    return Checkpoint(Path("run"), config, facts)


def held_out(config):
    return open_splits(config.data).test


def test_what_was_held_out_may_be_evaluated_and_no_other_part(whole):
    run = checkpoint(config(holdout_seed=3))
    assert expect_unseen(run, held_out(config(holdout_seed=3))) == []
    for other in (config(), config(holdout_seed=3, holdout=0.1), config(holdout_seed=3, holdout=1)):
        with pytest.raises(UsageError) as caught:
            expect_unseen(run, held_out(other))
        assert "data.holdout_seed at 3" in caught.value.hint
    with pytest.raises(UsageError, match="32 of these 40 images were trained on"):
        expect_unseen(run, whole)


def test_a_method_without_labels_has_learned_none_and_is_shown_none(whole):
    run = checkpoint(config("simsiam"))
    assert learned_of(run) == []
    assert expect_unseen(run, held_out(config(holdout_seed=1))) == []
    training = assemble.open_training(config("simsiam", validation=0.5)).train
    small = config("simsiam", validation=0.5).model_copy()
    fields = {"train.batch_size": 16}
    small = resolve("simsiam/digits", None, {"data.source": "/photos", **fields}).config
    method = assemble.build_method(small)
    loader = assemble.build_training(small, method, training, torch.device("cpu"), "fp32").loader
    assert next(loader.epoch(0)).labels is None


def test_what_a_parent_learned_stays_known(whole):
    parent = checkpoint(config())
    elsewhere = config(test="/others")
    child = checkpoint(elsewhere.model_copy(update={"method": config().method}), parent)
    assert [each.has_test for each in learned_of(child)] == [True, False]
    with pytest.raises(UsageError, match="trained on with their labels"):
        expect_unseen(child, held_out(config(holdout_seed=1)))


def test_a_distilled_student_learns_its_teachers_labels(whole):
    section = {"name": "distill", "num_classes": 2, "temperature": 1.0, "alpha": 1.0}
    plain = config().model_dump() | {"method": section}
    student = type(config()).model_validate(plain)
    assert len(learned_of(checkpoint(student))) == 1


def older(folder, config, seed, fingerprint):
    """Write a checkpoint as the version before `data.holdout_seed` did."""
    plain = config.model_dump(mode="json") | {"seed": seed}
    del plain["data"]["holdout_seed"], plain["data"]["validation"]
    facts = {"data": {"name": "/photos (train)", "fingerprint": fingerprint}}
    described = json.dumps({"schema": 1, "config": plain, "facts": facts})
    path = folder / "checkpoint.safetensors"
    save_file({"encoder.weight": torch.zeros(1)}, path, {"sslcli": described})
    return load_checkpoint(path)


def test_an_older_run_held_out_by_its_seed(whole, tmp_path):
    trained = open_splits(config(holdout_seed=5).data).train.fingerprint
    run = older(tmp_path, config(), 5, trained)
    assert run.config.data.holdout_seed == 5
    assert expect_unseen(run, held_out(run.config)) == []
    with pytest.raises(UsageError):
        expect_unseen(run, held_out(config(holdout_seed=0)))


def test_an_older_run_of_a_series_held_out_by_its_first_seed(whole, tmp_path):
    trained = open_splits(config(holdout_seed=0).data).train.fingerprint
    run = older(tmp_path, config(), 1, trained)
    with pytest.raises(UsageError) as caught:
        expect_unseen(run, held_out(run.config))
    assert "data.holdout_seed at 0" in caught.value.hint
    assert expect_unseen(run, held_out(config(holdout_seed=0))) == []


def test_an_older_run_of_a_series_without_a_fingerprint_of_content_is_refused(whole, tmp_path):
    folders = tmp_path / "tuned-seed1", tmp_path / "tuned"
    for folder in folders:
        folder.mkdir()
    whole.fingerprint = "content:aa"
    later, first = (older(folder, config(), 1, "ab") for folder in folders)
    assert expect_unseen(first, held_out(config(holdout_seed=1))) == []
    with pytest.raises(UsageError, match="did not say what it held out"):
        expect_unseen(later, held_out(config(holdout_seed=1)))


def test_a_config_file_of_an_older_run_keeps_its_split(tmp_path):
    file = tmp_path / "config.toml"
    file.write_text('preset = "supervised/digits"\nseed = 4\n[data]\nsource = "digits"\n')
    assert resolve("supervised/digits", file).config.data.holdout_seed == 4
    file.write_text('seed = 4\n[data]\nsource = "digits"\n')
    assert resolve("supervised/digits", file).config.data.holdout_seed == 0


def test_data_that_has_changed_is_refused(whole):
    run = checkpoint(config())
    with pytest.raises(UsageError, match="is not what it was"):
        expect_unseen(run, whole.other)
    older_facts = {name: each for name, each in run.facts.items() if name != LEARNED}
    (remark,) = expect_unseen(replace(run, facts=older_facts), whole.other)
    assert "may have been trained on" in remark
    whole.other.name = "/elsewhere"
    assert expect_unseen(run, whole.other) == []


def test_a_history_that_cannot_be_read_is_a_damaged_checkpoint(whole):
    run = checkpoint(config())
    with pytest.raises(CheckpointError, match="learned from"):
        learned_of(replace(run, facts={LEARNED: [{"source": 1}]}))


def test_a_builtin_set_is_itself_in_every_folder():
    fields = config(source="digits").data
    assert Learned.of(fields, assemble.open_data(config(source="digits")).train).source == "digits"
