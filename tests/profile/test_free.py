"""The free memory is the least that anything leaves, and a limit of the user's own counts."""

import pytest
import torch

from sslcli.errors import UsageError
from sslcli.profile import free
from sslcli.profile.free import free_memory

CPU, MIB = torch.device("cpu"), 2**20


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Return a function that makes a machine of 64 MiB free, with files of control groups."""
    (tmp_path / "meminfo").write_text("MemTotal: 131072 kB\nMemAvailable: 65536 kB\n")
    monkeypatch.setattr(free, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(free, "OWN_GROUPS", tmp_path / "own")
    monkeypatch.setattr(free, "CGROUPS", tmp_path / "groups")
    monkeypatch.delenv(free.VARIABLE, raising=False)

    def make(own="", **files):
        (tmp_path / "own").write_text(own)
        for name, text in files.items():
            file = tmp_path / "groups" / name.replace("__", "/").replace("_DOT_", ".")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{text}\n")
        return free_memory(CPU)

    return make


def test_without_limits_it_is_what_the_system_calls_available(machine):
    found = machine()
    assert found.nbytes == 64 * MIB
    assert found.whose == "on this machine"


def test_what_a_container_of_version_2_leaves_counts_even_from_above(machine):
    found = machine(
        "0::/box/in\n",
        box__in__memory_DOT_max="max",
        box__in__memory_DOT_current=MIB,
        box__memory_DOT_max=48 * MIB,
        box__memory_DOT_current=40 * MIB,
        box__memory_DOT_stat=f"anon {MIB}\ninactive_file {8 * MIB}",
    )
    assert found.nbytes == (48 - 40 + 8) * MIB
    assert "container" in found.whose


def test_what_a_container_of_version_1_leaves_counts(machine):
    files = {
        "memory__box__memory_DOT_limit_in_bytes": 32 * MIB,
        "memory__box__memory_DOT_usage_in_bytes": 40 * MIB,
        "memory__memory_DOT_limit_in_bytes": 2**63 - 4096,  # none
        "memory__memory_DOT_usage_in_bytes": 2**40,
    }
    assert machine("4:memory:/box\n2:cpu:/other\n", **files).nbytes == 0


def test_a_users_limit_counts_where_it_is_the_least(machine, monkeypatch):
    monkeypatch.setenv(free.VARIABLE, "0.03125")
    assert machine().nbytes == 32 * MIB
    assert free.VARIABLE in machine().whose
    monkeypatch.setenv(free.VARIABLE, "16")
    assert machine().nbytes == 64 * MIB


@pytest.mark.parametrize("text", ["much", "0", "-1", "nan", "inf", ""])
def test_a_limit_that_is_no_size_is_wrong_use(monkeypatch, text):
    monkeypatch.setenv(free.VARIABLE, text)
    with pytest.raises(UsageError) as caught:
        free_memory(CPU)
    assert caught.value.where == free.VARIABLE


def test_a_limit_of_addresses_counts(machine, monkeypatch):
    import resource

    pages = int(free.STATM.read_text().split()[0])
    room = pages * resource.getpagesize() + 16 * MIB
    monkeypatch.setattr(resource, "getrlimit", lambda which: (room, room))
    found = machine()
    assert 0 <= found.nbytes <= 16 * MIB
    assert "ulimit" in found.whose


def test_a_system_that_tells_nothing_leaves_it_unknown(monkeypatch, tmp_path):
    monkeypatch.setattr(free, "MEMINFO", tmp_path / "none")
    monkeypatch.setattr(free.os, "sysconf_names", {})
    monkeypatch.delenv(free.VARIABLE, raising=False)
    assert free_memory(CPU) is None
