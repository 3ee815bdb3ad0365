"""Processes of `devices` live no longer than their launcher."""

import signal
import subprocess
import sys

import pytest

JOIN = """
import torch
from sslcli.distributed.launch import joined
from sslcli.environment import World
with joined(World(rank=1, size=2, launcher="devices"), torch.device("cpu")):
    pass
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux to end it")
def test_a_process_whose_launcher_has_died_before_it_joined_ends(monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "sslcli-1")  # whose launcher was another process
    monkeypatch.setenv("MASTER_ADDR", "localhost")
    monkeypatch.setenv("MASTER_PORT", "9")
    done = subprocess.run([sys.executable, "-c", JOIN], timeout=60)
    assert done.returncode == -signal.SIGKILL
