"""A training from Python says beforehand how long it will take."""

import pytest

from sslcli.listener import Quiet
from sslcli.workflows import pretrain as module
from sslcli.workflows.pretrain import pretrain


class Notes(Quiet):
    def __init__(self):
        self.told = []

    def note(self, text):
        self.told.append(text)


def test_a_long_training_on_the_cpu_is_foretold_and_a_resumed_one_is_not(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_WORTH_FORETELLING", 2)
    monkeypatch.setattr(module, "step_seconds", lambda training: 100.0)
    notes = Notes()
    few = {"train.batch_size": 16, "encoder.width": 4, "evaluation.online_every": None}
    for resume, steps in ((False, 1), (True, 3)):
        length = {"train.duration": f"{steps} steps"}
        changes = length if resume else few | length
        pretrain(
            preset=None if resume else "simsiam/digits", out=tmp_path / "run", resume=resume,
            device="cpu", overrides=changes, listener=notes,
        )  # fmt: skip
    assert not any("of training" in told for told in notes.told)
    pretrain(
        preset="simsiam/digits", out=tmp_path / "other", device="cpu",
        overrides=few | {"train.duration": "2 steps"}, listener=notes,
    )  # fmt: skip
    assert any(told.startswith("about 3 minutes of training") for told in notes.told)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(3.0, "10 seconds"), (96.0, "100 seconds"), (400.0, "7 minutes"), (9e3, "2.5 hours")],
)
def test_lengths_of_time_are_said_in_round_numbers(seconds, words):
    assert module._spoken(seconds) == words
