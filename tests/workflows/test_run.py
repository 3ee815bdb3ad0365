"""What `load` makes of changes and listeners, of a checkpoint and of a run that is open."""

import pytest
import torch

import sslcli
from sslcli.evaluate.features import cache_key
from sslcli.listener import Listener
from sslcli.workflows.changes import laid_under

FIELDS = {"evaluation.k": 3, "train.precision": "bf16"}
TEXTS = ["evaluation.k=3", 'train.precision="bf16"']


class Notebook(Listener):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def note(self, text: str) -> None:
        self.told.append(text)


@pytest.fixture
def run(encoder_run):
    return sslcli.load(encoder_run, device="cpu", precision="fp32", listener=Notebook())


def test_a_mapping_and_texts_change_a_checkpoint_and_an_open_run_alike(run, encoder_run):
    changed = [
        sslcli.load(which, overrides=overrides, precision="fp32")
        for which in (run, encoder_run)
        for overrides in (FIELDS, TEXTS)
    ]
    assert all(each.config == changed[0].config for each in changed)
    assert (changed[0].config.evaluation.k, changed[0].precision) == (3, "bf16")


def test_changes_are_laid_over_the_open_run_and_not_over_its_checkpoint(run):
    changed = sslcli.load(run, overrides=["evaluation.k=3"])
    again = sslcli.load(changed, overrides={"evaluation.temperature": 0.2}, seed=4)
    assert again.config.evaluation.k == 3
    assert (again.config.evaluation.temperature, again.config.seed) == (0.2, 4)
    assert run.config.evaluation.k != 3


def test_a_given_listener_is_taken_and_else_the_run_keeps_its_own(run):
    another = Notebook()
    heard = sslcli.load(run, listener=another)
    assert (heard.listener, heard.config) == (another, run.config)
    assert any("checkpoint" in text for text in another.told)
    assert sslcli.load(run, seed=1).listener is run.listener
    assert sslcli.load(run) is run


def test_what_changes_nothing_gives_the_same_run_and_what_was_told_is_told_once(run):
    assert sslcli.load(run, overrides={"evaluation.k": run.config.evaluation.k}) is run
    before = list(run.listener.told)
    sslcli.load(run, overrides={"evaluation.k": 3})
    assert run.listener.told == before
    sslcli.load(run, seed=9)
    assert run.listener.told == [*before, "device cpu, precision fp32, seed 9"]


@pytest.mark.parametrize("overrides", [{"seed": 2}, ["seed=2"]])
def test_overrides_win_over_arguments(run, overrides):
    assert sslcli.load(run, seed=1, overrides=overrides).config.seed == 2


def test_numbers_of_arguments_lie_under_mappings_and_texts():
    assert laid_under({"a": 0.5, "b": 1.0}, {"a": 2}) == {"a": 2, "b": 1.0}
    assert laid_under({"a": 0.5}, ["a=2"]) == ["a=0.5", "a=2"]


def test_the_encoder_is_what_the_config_reads_out_of_the_network(run):
    plain, head = (
        sslcli.load(run, overrides={"evaluation.features": name}) for name in ("encoder", "head")
    )
    images = torch.rand(2, 3, 12, 12)
    expected = head.method.projector(plain.encoder(images))
    torch.testing.assert_close(head.encoder(images), expected)
    assert head.encoder.feature_dim == expected.shape[1] == head.untrained.feature_dim
    assert cache_key(head.encoder, "", {}) != cache_key(plain.encoder, "", {})
