"""Sums through shared memory; `test_sync_norm` uses them between two processes."""

import subprocess
import sys

import pytest
import torch

from sslcli.distributed.exchange import CAPACITY, Exchange, suits
from sslcli.errors import PeerError


def exchange(size):
    return Exchange(0, size, lambda path: path, lambda: None)


def test_a_process_alone_gets_its_own_vector_each_time():
    alone = exchange(1)
    for number in range(5):
        vector = torch.full((CAPACITY,), float(number), dtype=torch.float64)
        assert torch.equal(alone.total(vector), vector)


def test_a_process_that_has_gone_is_told_from_one_that_is_late():
    pair = exchange(2)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    pair._pids[1] = gone.pid
    with pytest.raises(PeerError, match="process 1"):
        pair.total(torch.ones(3, dtype=torch.float64))


@pytest.mark.parametrize(
    ("device", "size", "local", "expected"),
    [("cpu", 2, 2, True), ("cpu", 4, 2, False), ("cpu", 1, 1, False), ("cuda", 2, 2, False)],
)
def test_memory_is_shared_on_one_machine_and_the_cpu_only(
    monkeypatch, device, size, local, expected
):
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr("platform.system", lambda: "Linux")
    assert suits(torch.device(device), size, local) is expected
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert not suits(torch.device(device), size, local)
