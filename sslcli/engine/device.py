"""Choose the arithmetic of a device, and the contexts that go with it."""

import ctypes
import os
import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from sslcli.distributed.collective import from_main, is_main
from sslcli.engine.pace import machine_pace
from sslcli.errors import ConfigError, ResourceError, UsageError

Precision = Literal["bf16", "fp16", "fp32"]
WORTH_IT = 1.1  # bf16 is taken if it is this many times as fast
AUTOMATIC: tuple[Literal["bf16", "fp32"], ...] = ("bf16", "fp32")
VARIABLE = "SSL_AUTO_PRECISION"
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Choice(NamedTuple):
    """A precision and, in a sentence, why."""

    precision: Precision
    reason: str


def pick_device(name: str) -> torch.device:
    """Return the device that `name` means; "auto" is CUDA when there is one, else the CPU.

    "auto" leaves Apple's mps alone, on which this project has never run: it is there to be named.

    Raises:
        UsageError: If `name` is no device.
        ResourceError: If that device is not here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(
            f"{name!r} is no device", "device", "auto, cpu, cuda, cuda:1, mps"
        ) from error
    if device.type == "cuda" and not (device.index or 0) < torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise ResourceError(f"there is no {name}: torch sees {count} CUDA devices", "device")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ResourceError(f"there is no {name}: it is the GPU of Apple's machines", "device")
    if device.type not in ("cpu", "cuda", "mps"):
        raise UsageError(f"{name!r} is not supported", "device", "use cpu, cuda or mps")
    return device


def resolve_precision(
    requested: Literal["auto", "bf16", "fp16", "fp32"],
    device: torch.device,
    begun: str | None = None,
) -> Choice:
    """Return the precision to train with; all processes call it and get the same one.

    "auto" is bf16 where the hardware has it natively, and a CPU is a tenth faster by it; else fp32.
    The variable SSL_AUTO_PRECISION, bf16 or fp32, takes the place of the timing. A requested
    precision is kept, with a warning when the hardware has to emulate it.

    Args:
        requested: What the config says.
        device: Where to train.
        begun: The precision that a resumed run began with, which "auto" keeps.

    Raises:
        ConfigError: If fp16 is asked of a CPU that has no fp16 arithmetic, or the variable is set
            to something else.
    """
    if requested == "auto":
        if begun:
            return Choice(_known(begun), "as this run began")
        found = from_main(_automatic(device) if is_main() else None)
        assert found, "the first process has chosen"
        return found
    native = has_native_bf16(device)
    if requested == "fp16" and device.type == "cpu" and not _cpu_has("avx512_fp16", "amx_fp16"):
        raise ConfigError(
            "fp16 needs hardware that this CPU lacks",
            where="train.precision",
            hint="use bf16 or fp32 on this CPU, or auto to let the device decide",
        )
    emulated = requested == "bf16" and not native
    note = f", though {_describe(device)} only emulates it, slowly" if emulated else ""
    return Choice(requested, f"asked for{note}")


def _automatic(device: torch.device) -> Choice:
    has_none = Choice("fp32", f"{_describe(device)} has no native bf16")
    if device.type != "cpu":
        native = Choice("bf16", f"{_describe(device)} has native bf16")
        return native if has_native_bf16(device) else has_none
    if said := os.environ.get(VARIABLE):
        return Choice(_known(said), f"{VARIABLE} says so")
    if not has_native_bf16(device):
        return has_none
    pace = machine_pace()
    return Choice("bf16" if pace.gain >= WORTH_IT else "fp32", f"here {pace}")


def _known(word: str) -> Precision:
    """Return `word` as a precision that "auto" may choose; a run or a variable named it."""
    for known in AUTOMATIC:
        if word == known:
            return known
    where = f"`precision` auto, or {VARIABLE}"
    raise ConfigError(f"{word!r} is no precision", where, "bf16 or fp32 are")


def has_native_bf16(device: torch.device) -> bool:
    """Say whether `device` multiplies matrices in bf16 without emulation."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and _cpu_has("avx512_bf16", "amx_bf16")


def _cpu_has(*features: str) -> bool:
    """Say whether this CPU has any of the features; read at run time, not when torch was built."""
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(feature, False) for feature in features)


def _describe(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"this {device.type}"


def autocast(device: torch.device, precision: str) -> AbstractContextManager:
    """Return the context to run the forward pass in."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, dtype=_DTYPES[precision])


def grad_scaler(device: torch.device, precision: str) -> torch.amp.GradScaler:
    """Return a loss scaler; only fp16 needs one, for the others it passes everything through."""
    return torch.amp.GradScaler(device.type, enabled=precision == "fp16")


def wide(tensor: Tensor) -> Tensor:
    """Return a tensor in float64, which mps lacks: what lies there moves to the host for it."""
    return (tensor.cpu() if tensor.device.type == "mps" else tensor).double()


def tune_device(device: torch.device) -> None:
    """Let CUDA use TF32 for what stays float32, and pick convolutions by timing them once.

    On the CPU let glibc keep the memory that each step frees, instead of returning it to the system
    and faulting it in again: steps take a quarter less time. Both thresholds must be set. Setting
    one alone freezes the other at 128 KiB, so that every larger block is mapped anew each time.
    """
    if device.type == "cpu" and sys.platform == "linux":
        set_option = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc alone has it
        if set_option:
            set_option(_TRIM_THRESHOLD, 2**31 - 1)
            set_option(_MMAP_THRESHOLD, 2**30)
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = True


def give_back_memory() -> None:
    """Return to the system what glibc has kept of freed memory: between parts, and other work.

    Blocks of other sizes do not fit the holes that steps leave, so both would add up. Nor do those
    of the next part of a step, between gradients: sixteen parts of 3 GiB each left holes of 4 GiB.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim:
        trim(0)
