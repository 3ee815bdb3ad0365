"""Processes that come together, and what is said while some are missing."""

import re
import socket
import threading
from datetime import timedelta

import pytest
from torch.distributed import DistNetworkError

from sslcli.distributed import meeting
from sslcli.distributed.meeting import meet, ranges
from sslcli.environment import World
from sslcli.errors import ResourceError


@pytest.fixture(autouse=True)
def _address(monkeypatch):
    with socket.socket() as taken:
        taken.bind(("localhost", 0))
        monkeypatch.setenv("MASTER_PORT", str(taken.getsockname()[1]))
    monkeypatch.setenv("MASTER_ADDR", "localhost")
    monkeypatch.setattr(meeting, "_SILENT_SECONDS", 0.05)


def test_who_is_awaited_is_said_until_all_are_there():
    said, spoken = [], threading.Event()

    def say(text):
        said.append(text)
        spoken.set()

    def first():
        meet(World(rank=0, size=3, local_size=3), timedelta(seconds=20), say)

    waiting = threading.Thread(target=first)
    waiting.start()
    meet(World(rank=1, size=3, local_rank=1, local_size=3), timedelta(seconds=20), print)
    assert spoken.wait(10)
    meet(World(rank=2, size=3, local_rank=2, local_size=3), timedelta(seconds=20), print)
    waiting.join(10)
    assert not waiting.is_alive()
    assert all(re.search(r"for processes (2|1-2) of 3", text) for text in said)


def test_the_others_say_that_the_first_is_missing():
    said = []
    with pytest.raises(DistNetworkError, match="time"):
        meet(World(rank=1, size=2, local_rank=1, local_size=2), timedelta(seconds=1), said.append)
    assert said
    assert "waiting for process 0 of 2 at localhost:" in said[0]


def test_who_has_not_come_is_named_at_the_end():
    with pytest.raises(ResourceError, match="processes 1-3 of 4 have not come"):
        meet(World(rank=0, size=4, local_size=4), timedelta(seconds=0.2), lambda text: None)


def test_ranks_are_listed_in_short():
    assert ranges([1, 2, 3, 5, 8, 9]) == "1-3, 5, 8-9"
