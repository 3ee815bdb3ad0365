"""What `ssl doctor` finds, and that no broken part keeps it from finding the rest."""

import shutil
import socket
import time
import tomllib
from collections import namedtuple
from importlib import metadata
from pathlib import Path

import pytest

from sslcli.cli.doctor import environment as surroundings
from sslcli.cli.doctor import machine
from sslcli.cli.doctor import software as installed
from sslcli.cli.doctor.checkup import Finding, checkup
from sslcli.profile import free

PYPROJECT = Path(__file__).parents[3] / "pyproject.toml"
LAUNCHER = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch):
    for name in (*LAUNCHER, *surroundings.EFFECTS):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def limit(tmp_path, monkeypatch):
    """Return a function that writes control groups: by file, the limit of each from the inside."""

    def write(limits):
        groups = tmp_path / "groups"
        for name, words in limits.items():
            for folder, word in zip((groups / "box", groups), words, strict=False):
                folder.mkdir(parents=True, exist_ok=True)
                (folder / name).write_text(f"{word}\n")
        (tmp_path / "own").write_text("0::/box\n")
        monkeypatch.setattr(free, "OWN_GROUPS", tmp_path / "own")
        monkeypatch.setattr(free, "CGROUPS", groups)

    return write


def only(findings):
    (finding,) = findings
    return finding


def test_a_healthy_machine_has_no_fault(ssl, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcome = ssl("doctor", "--json")
    assert outcome.code == 0
    assert outcome.json["ok"]
    checks = {row["check"]: row for row in outcome.json["checks"]}
    assert {"torch", "precision", "cores", "shared memory", "cache", "host name"} <= checks.keys()
    assert sum(outcome.json["counts"].values()) == len(outcome.json["checks"])
    assert not list(tmp_path.iterdir())


def test_plain_output_is_one_line_a_finding(ssl, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = ssl("doctor", "--data", "digits").out.splitlines()
    assert lines[0].split("\t") == ["check", "state", "found", "what to do"]
    assert all(len(line.split("\t")) == 4 for line in lines)
    assert "1,797 images, 10 classes" in lines[-1]


def test_a_check_that_fails_becomes_a_row_and_the_others_go_on():
    def broken():
        raise RuntimeError("no such thing\nand more")

    def whole():
        yield Finding("whole", "ok", "fine")

    first, second = checkup([("broken", broken), ("whole", whole)])
    assert (first.check, first.state) == ("broken", "warning")
    assert first.found == "could not be checked: RuntimeError: no such thing"
    assert second.found == "fine"


def test_missing_data_exits_as_everywhere(ssl):
    outcome = ssl("doctor", "--data", "digitz")
    assert outcome.code == 3
    assert "data\tfault\tdigitz" in outcome.out
    assert "did you mean digits?" in outcome.err


def test_a_missing_dependency_is_a_fault(ssl, monkeypatch):
    monkeypatch.setattr(metadata, "requires", lambda name: ["no-such-package>=1.0"])
    outcome = ssl("doctor", "--json")
    assert outcome.code == 4
    assert not outcome.json["ok"]
    assert "pip install no-such-package" in outcome.err


def test_an_old_dependency_is_named_with_what_is_needed(monkeypatch):
    monkeypatch.setattr(metadata, "requires", lambda name: ["numpy>=999.1"])
    finding = only(installed.dependencies())
    assert finding.state == "warning"
    assert "needs 999.1" in finding.found


def test_every_extra_says_what_it_brings():
    declared = tomllib.loads(PYPROJECT.read_text())["project"]["optional-dependencies"]
    assert installed.EXTRAS.keys() == declared.keys() - {"all", "log"}  # which name other extras


def test_a_missing_extra_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(metadata, "requires", lambda name: ['no-such-package; extra == "onnx"'])
    found = {finding.check: finding for finding in installed.extras()}["extra onnx"]
    assert found.state == "note"
    assert "no-such-package" in found.found
    assert found.advice == "pip install 'sslcli[onnx]'"


def test_files_that_hide_modules_are_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("ssl.py", "timeit.py", "photos.py", "os.py", "sys.py"):  # the last two cannot
        (tmp_path / name).touch()
    (tmp_path / "numpy").mkdir()
    (tmp_path / "numpy/__init__.py").touch()
    (tmp_path / "random").mkdir()  # no package, so the module wins
    found = [finding.found.split()[0] for finding in installed.shadows()]
    assert found == ["numpy", "ssl.py", "timeit.py"]


def test_an_empty_folder_hides_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert only(installed.shadows()).state == "ok"


def test_a_torch_that_fits_its_torchvision_is_told():
    assert [(each.check, each.state) for each in installed.torch()] == [
        ("torch", "ok"),
        ("torchvision", "ok"),
    ]


def test_a_torchvision_of_another_torch_is_told(monkeypatch):
    monkeypatch.setattr(metadata, "version", lambda name: "0.20.1")
    _, vision = installed.torch()
    assert vision.state == "warning"
    assert "pip install 'torchvision==0." in vision.advice


@pytest.mark.parametrize(
    ("capability", "built_for", "runs"),
    [
        ((8, 9), ["sm_80"], True),
        ((9, 0), ["sm_80", "sm_90a"], True),
        ((12, 0), ["sm_90"], False),
        ((12, 0), ["sm_90", "compute_90"], True),
        ((7, 0), ["sm_75"], False),
    ],
)
def test_gpus_need_kernels_of_their_own_generation(capability, built_for, runs):
    assert machine.has_kernels(capability, built_for) is runs


@pytest.mark.parametrize(
    ("limits", "quota"),
    [
        ({"cpu.max": ["150000 100000", "max 100000"]}, 1.5),
        ({"cpu.max": ["max 100000"]}, None),
        ({"cpu.cfs_quota_us": ["-1", "200000"], "cpu.cfs_period_us": ["100000"] * 2}, 2.0),
        ({}, None),
    ],
)
def test_the_cpu_quota_of_a_container_is_read(limit, limits, quota):
    limit(limits)
    assert machine.cpu_quota() == quota


def test_more_threads_than_the_quota_are_too_many(monkeypatch, limit):
    limit({"cpu.max": ["100000 100000"]})
    monkeypatch.setattr("torch.get_num_threads", lambda: 2)
    finding = only(machine.cores())
    assert finding.state == "warning"
    assert "OMP_NUM_THREADS=1" in finding.advice


@pytest.mark.parametrize(
    ("load", "threads", "state"), [(0.0, 1, "note"), (1e6, 2, "warning"), (1e6, 1, "ok")]
)
def test_threads_are_judged_by_what_else_wants_the_cores(monkeypatch, limit, load, threads, state):
    limit({})
    monkeypatch.setattr("sslcli.environment.core_count", lambda: 4)
    monkeypatch.setattr("torch.get_num_threads", lambda: threads)
    monkeypatch.setattr("os.getloadavg", lambda: (load, 0.0, 0.0))
    assert only(machine.cores()).state == state


def test_the_memory_limit_of_a_container_counts(limit):
    limit({"memory.max": ["max", str(2**31)], "memory.current": ["5", str(2**30)]})
    finding = only(machine.memory())
    assert finding.state == "warning"
    assert "1.0 GiB free within this container's limit" in finding.found
    assert "--fit" in finding.advice


def test_a_container_with_small_shared_memory_is_told_how_to_start(monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(2**26, 0, 2**26))
    finding = only(machine.shared_memory())
    assert finding.state == "warning"
    assert "--shm-size" in finding.advice


@pytest.mark.parametrize("below", ["", "below"])
def test_a_cache_that_is_a_file_is_a_warning(tmp_path, monkeypatch, below):
    (tmp_path / "file").touch()
    monkeypatch.setenv("SSL_CACHE", str(tmp_path / "file" / below))
    finding = only(machine.cache())
    assert finding.state == "warning"
    assert "Not a directory" in finding.found


def test_the_cache_is_measured_and_not_made(tmp_path, monkeypatch):
    monkeypatch.setenv("SSL_CACHE", str(tmp_path / "cache"))
    assert "not made yet" in only(machine.cache()).found
    assert not list(tmp_path.iterdir())
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "entry").write_bytes(bytes(2**20))
    assert "1 files of 1.0 MiB" in only(machine.cache()).found


def test_a_deleted_folder_ends_the_command_before_torch_does(ssl, tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    outcome = ssl("doctor")
    assert outcome.code == 4
    assert "deleted" in outcome.err


def test_a_host_name_that_cannot_be_resolved_is_a_warning(monkeypatch):
    def refuse(*_):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    finding = only(surroundings.host_name())
    assert finding.state == "warning"
    assert "/etc/hosts" in finding.advice


def test_a_slow_host_name_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(surroundings, "NAME_SECONDS", 0.01)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: time.sleep(0.5))
    started = time.perf_counter()
    assert only(surroundings.host_name()).state == "warning"
    assert time.perf_counter() - started < 0.4


def test_half_a_launchers_variables_are_a_fault(monkeypatch):
    monkeypatch.setenv("RANK", "0")
    finding = only(surroundings.environment())
    assert finding.state == "fault"
    assert "MASTER_ADDR" in finding.found
    assert "unset RANK" in finding.advice


def test_a_whole_launch_is_a_note(monkeypatch):
    for name in LAUNCHER:
        monkeypatch.setenv(name, "1" if "ADDR" not in name else "localhost")
    finding = only(surroundings.environment())
    assert finding.state == "note"
    assert finding.found.startswith("process 1 of 1")


@pytest.mark.parametrize(
    ("name", "value", "state"),
    [
        ("CUDA_LAUNCH_BLOCKING", "1", "warning"),
        ("CUDA_LAUNCH_BLOCKING", "0", "ok"),
        ("CUDA_VISIBLE_DEVICES", "0", "note"),
        ("CUDA_VISIBLE_DEVICES", "", "note"),
        ("TORCH_COMPILE_DISABLE", "1", "note"),
        ("NO_COLOR", "1", "ok"),
    ],
)
def test_variables_that_change_results_or_speed_are_named(monkeypatch, name, value, state):
    monkeypatch.setenv(name, value)
    finding = only(surroundings.environment())
    assert finding.state == state
    assert (name in finding.found) == (state != "ok")


def test_systems_that_nobody_has_tried_are_named(monkeypatch):
    import torch

    assert list(machine.system()) == []
    monkeypatch.setattr(machine.sys, "platform", "darwin")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    system, mps = machine.system()
    assert "macOS, where nobody has tried" in system.found
    assert "--device mps" in mps.advice
    assert "float64" in mps.advice
