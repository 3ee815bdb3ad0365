"""Where the time of a training step goes, as numbers."""

import pytest

import sslcli
from sslcli.errors import UsageError


def test_the_phases_of_a_step_are_timed_and_nothing_is_left(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = sslcli.bench(
        "simsiam", data="digits", steps=3, device="cpu", overrides={"encoder.width": 4}
    )
    assert found.preset == "simsiam/digits"
    assert found.times.parts.keys() <= found.meanings.keys()
    assert found.times.bottleneck in found.meanings
    assert found.rate(found.times.loop) == found.times.images / found.times.loop
    assert found.rate(0.0) is None
    assert not list(tmp_path.iterdir())


def test_a_method_that_needs_a_checkpoint_is_refused():
    with pytest.raises(UsageError, match="needs a checkpoint"):
        sslcli.bench(
            preset="simsiam/digits", overrides={"method": {"name": "finetune", "num_classes": 10}}
        )
