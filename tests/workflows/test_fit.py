"""What a training takes beside what is free, and the least change that makes it fit."""

import pytest
import torch

from sslcli import assemble
from sslcli.config.presets import resolve
from sslcli.errors import ResourceError
from sslcli.listener import Quiet
from sslcli.profile.free import Free
from sslcli.workflows.fit import Room, look
from sslcli.workflows.ways import FITTING, Way, chunks, inexact_parts, presets, spelled

CPU, MIB = torch.device("cpu"), 2**20
STAGES = (chunks, inexact_parts, presets)


class Hearing(Quiet):
    """Keeps what it is told."""

    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


def outlook_of(preset, mebibytes, stages=(), local=1, **changes):
    config = resolve(preset, None, {"train.duration": "9 steps", **changes}).config
    source = assemble.open_training(config).train

    def planner(other):
        return assemble.plan_training(other, source, CPU, "fp32", machine_share=local), 0

    free = None if mebibytes is None else Free(round(mebibytes * MIB), "in this test")
    return look(config, planner, Room(free, free, local, is_host=True), stages, local)


def test_what_fits_stays_as_it_is():
    outlook, heard = outlook_of("simsiam/digits", 10_000), Hearing()
    assert outlook.fits
    outlook.check(heard)
    assert outlook.fitted(heard) is outlook
    assert not heard.notes


def test_processes_of_one_machine_count_together():
    one = outlook_of("simsiam/digits", 10_000)
    free = 1.5 * one.memory.total / MIB
    assert outlook_of("simsiam/digits", free).fits
    assert not outlook_of("simsiam/digits", free, local=4).fits


def test_a_gpu_is_compared_with_its_own_memory_and_the_host_with_its():
    memory = outlook_of("simsiam/digits", 10_000).memory
    much, little = Free(2**40, "much"), Free(MIB, "little")
    assert Room(much, little, 4, is_host=False).shortage(memory) is None  # nothing is on the host
    assert Room(little, much, 1, is_host=False).shortage(memory) == (memory.device, little)


def test_every_way_that_is_named_makes_it_fit_and_says_what_it_changes():
    outlook = outlook_of("simclr/digits", 99, STAGES, **{"train.batch_size": 1024})
    with pytest.raises(ResourceError, match="and 99 MiB are free in this test") as caught:
        outlook.check(Hearing())
    ways = outlook.ways()
    assert {"train.chunk_size", "train.accumulate"} <= {
        key for way, _ in ways for key in way.changes
    }
    for way, takes in ways:
        assert takes <= 0.9 * 99 * MIB
        assert spelled(way) in caught.value.hint
        assert way.means in caught.value.hint


def test_the_exact_gradient_is_preferred_for_contrasts_and_told():
    heard = Hearing()
    fitted = outlook_of("simclr/digits", 99, FITTING, **{"train.batch_size": 1024}).fitted(heard)
    assert fitted.fits
    assert fitted.config.train.chunk_size
    assert fitted.config.train.accumulate == 1
    assert len(heard.notes) == 1
    assert "BatchNorm sees" in heard.notes[0]


def test_parts_come_first_where_they_change_nothing():
    heard = Hearing()
    changes = {"train.batch_size": 512, "method.sampler.steps": 1}
    outlook = outlook_of("jem/digits", 80, FITTING, **changes)
    fitted = outlook.fitted(heard)
    assert fitted.fits
    assert fitted.config.train.accumulate > 1
    assert heard.notes == [
        f"to fit: `overrides` train.accumulate={fitted.config.train.accumulate}, exact"
    ]


def test_what_one_change_cannot_do_several_do():
    heard = Hearing()
    changes = {"train.batch_size": 1024, "encoder.width": 64}
    fitted = outlook_of("simsiam/digits", 28, FITTING, **changes).fitted(heard)
    assert fitted.fits
    assert fitted.config.train.accumulate == 64
    assert fitted.config.encoder.width < 64
    assert len(heard.notes) == 2


def test_nothing_is_promised_where_nothing_helps():
    outlook = outlook_of("simsiam/digits", 0.5, (inexact_parts,))
    assert outlook.ways() == []
    assert outlook.fitted(Hearing()).fits is False
    with pytest.raises(ResourceError):
        outlook.check(Hearing())


def test_unknown_free_memory_is_said_and_stops_nobody():
    heard, outlook = Hearing(), outlook_of("simsiam/digits", None)
    outlook.check(heard)
    assert outlook.fits is None
    assert "how much is free is unknown" in heard.notes[0]


def test_a_way_is_spelled_as_it_is_asked_for():
    assert spelled(Way({"train.chunk_size": 64}, "")) == "`chunk_size` 64"
    assert spelled(Way({"preset": "a/b"}, "")) == "`preset` a/b"
    several = Way({"data.image_size": 64, "views.0.size": 64}, "")
    assert spelled(several) == "`overrides` data.image_size=64 `overrides` views.0.size=64"
