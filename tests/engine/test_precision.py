import resource
import sys

import pytest
import torch

from sslcli.engine import precision as module
from sslcli.engine.precision import autocast, grad_scaler, resolve_precision, tune_device
from sslcli.errors import ConfigError, ExitCode

CPU = torch.device("cpu")


@pytest.fixture
def cpu_with(monkeypatch):
    """Return a function that gives the CPU these features and no other."""

    def give(*features: str) -> None:
        found = dict.fromkeys(features, True)
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found)

    return give


@pytest.mark.parametrize("feature", ["avx512_bf16", "amx_bf16"])
def test_auto_is_bf16_where_the_cpu_has_it(cpu_with, feature):
    cpu_with("avx2", feature)
    choice = resolve_precision("auto", CPU)
    assert choice.precision == "bf16"
    assert "native bf16" in choice.reason


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
