import resource
import sys
from pathlib import Path

import on_ranks
import pytest
import torch

from sslcli.engine import device as module
from sslcli.engine.device import (
    autocast,
    give_back_memory,
    grad_scaler,
    pick_device,
    resolve_precision,
    tune_device,
)
from sslcli.engine.pace import Pace
from sslcli.errors import ConfigError, ExitCode, ResourceError, UsageError

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _untold(monkeypatch):
    monkeypatch.delenv(module.VARIABLE)


@pytest.fixture
def cpu_with(monkeypatch):
    """Return a function that gives the CPU these features, and bf16 this gain in speed."""

    def give(*features: str, gain: float = 2.0) -> None:
        found = dict.fromkeys(features, True)
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found)
        pace = Pace((3.0 * gain, 3.0), (9.0 * gain, 9.0))
        monkeypatch.setattr(module, "machine_pace", lambda: pace)

    return give


@pytest.mark.parametrize("feature", ["avx512_bf16", "amx_bf16"])
@pytest.mark.parametrize(("gain", "chosen"), [(1.2, "bf16"), (1.05, "fp32"), (0.7, "fp32")])
def test_auto_is_bf16_where_the_cpu_is_a_tenth_faster_by_it(cpu_with, feature, gain, chosen):
    cpu_with("avx2", feature, gain=gain)
    choice = resolve_precision("auto", CPU)
    assert choice.precision == chosen
    assert f"a convolution takes 3.0 ms in bf16 and {3 * gain:.1f} in fp32" in choice.reason
    assert f"a product takes 9.0 ms in bf16 and {9 * gain:.1f} in fp32" in choice.reason


def test_the_kind_of_work_that_gains_less_decides():
    assert Pace((1.0, 2.0), (8.0, 1.0)).gain == 0.5


def test_auto_keeps_what_a_run_began_with(cpu_with):
    cpu_with("avx512_bf16", gain=0.5)
    assert resolve_precision("auto", CPU, begun="bf16") == ("bf16", "as this run began")
    assert resolve_precision("fp32", CPU, begun="bf16").precision == "fp32"


def test_the_variable_takes_the_place_of_the_timing(cpu_with, monkeypatch):
    cpu_with("avx512_bf16", gain=0.5)
    monkeypatch.setenv(module.VARIABLE, "bf16")
    assert resolve_precision("auto", CPU).precision == "bf16"
    monkeypatch.setenv(module.VARIABLE, "fp64")
    with pytest.raises(ConfigError, match="fp64"):
        resolve_precision("auto", CPU)


def test_auto_is_fp32_on_an_older_cpu(cpu_with):
    cpu_with("avx2", "avx512_f")
    assert resolve_precision("auto", CPU) == ("fp32", "this cpu has no native bf16")


def test_auto_is_fp32_on_other_devices():
    assert resolve_precision("auto", torch.device("meta")).precision == "fp32"


def test_emulated_bf16_is_granted_with_a_warning(cpu_with):
    cpu_with("avx2")
    choice = resolve_precision("bf16", CPU)
    assert choice.precision == "bf16"
    assert "emulates" in choice.reason


def test_fp16_on_a_cpu_without_it_is_refused(cpu_with):
    cpu_with("avx2", "avx512_bf16")
    with pytest.raises(ConfigError) as caught:
        resolve_precision("fp16", CPU)
    assert caught.value.exit_code == ExitCode.WRONG_USE
    assert caught.value.where == "train.precision"
    assert "bf16" in caught.value.hint


def test_fp16_on_a_cpu_with_it_is_granted(cpu_with):
    cpu_with("avx512_fp16")
    assert resolve_precision("fp16", CPU).precision == "fp16"


def test_features_are_those_of_the_kernel():
    try:
        with open("/proc/cpuinfo") as file:
            flags = set(file.read().split())
    except OSError:
        pytest.skip("no /proc/cpuinfo")
    assert module.has_native_bf16(CPU) == bool(flags & {"avx512_bf16", "amx_bf16"})


@pytest.mark.ddp
def test_all_processes_take_the_first_ones_answer(two):
    first, second = two(on_ranks.chosen_precision)
    assert first == second
    assert first.precision == "bf16"


@pytest.mark.parametrize(
    ("precision", "dtype"), [("bf16", torch.bfloat16), ("fp32", torch.float32)]
)
def test_autocast_decides_what_matrices_multiply_in(precision, dtype):
    with autocast(CPU, precision):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


def test_only_fp16_scales_the_loss():
    assert grad_scaler(CPU, "fp16").is_enabled()
    scaler = grad_scaler(CPU, "bf16")
    assert not scaler.is_enabled()
    assert scaler.scale(torch.tensor(3.0)).item() == 3.0
    assert scaler.state_dict() == {}


def test_tuning_leaves_a_cpu_alone():
    before = torch.get_float32_matmul_precision()
    tune_device(CPU)
    assert torch.get_float32_matmul_precision() == before


@pytest.mark.skipif(sys.platform != "linux", reason="glibc alone has the setting")
def test_memory_of_large_tensors_is_kept_and_not_faulted_in_again():
    tune_device(CPU)
    torch.zeros(1 << 20).add(1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.zeros(1 << 20).add(1)  # 8 MiB, which are 40,960 pages in all
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < 10_000


def test_apples_gpu_is_taken_when_it_is_named_and_there(monkeypatch):
    with pytest.raises(ResourceError, match="there is no mps"):
        pick_device("mps")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert pick_device("mps").type == "mps"
    assert pick_device("auto").type != "mps"
    assert resolve_precision("auto", torch.device("mps")).precision == "fp32"


@pytest.mark.parametrize("name", ["xpu", "meta"])
def test_other_devices_are_refused(name):
    with pytest.raises(UsageError, match="not supported"):
        pick_device(name)


def resident():
    """Return the bytes of this process that lie in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.skipif(sys.platform != "linux", reason="glibc alone keeps holes that it can return")
def test_memory_between_blocks_in_use_is_given_back():
    blocks = [torch.ones(1 << 14) for _ in range(1600)]  # 64 KiB each, below what is mapped alone
    kept = blocks[-1]
    del blocks
    before = resident()
    give_back_memory()
    assert before - resident() > 50 << 20
    assert kept.sum() == len(kept)
