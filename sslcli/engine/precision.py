"""Choose the arithmetic of a device, and the contexts that go with it."""

import ctypes
import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Literal, NamedTuple

import torch

from sslcli.errors import ConfigError

Precision = Literal["bf16", "fp16", "fp32"]
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Choice(NamedTuple):
    """A precision and, in a sentence, why."""

    precision: Precision
    reason: str


def resolve_precision(
    requested: Literal["auto", "bf16", "fp16", "fp32"], device: torch.device
) -> Choice:
    """Return the precision to train with.

    "auto" is bf16 where the hardware has it natively, else fp32; a request is kept, with a word
    of warning when the hardware would have to emulate it.

    Raises:
        ConfigError: If fp16 is asked of a CPU that has no fp16 arithmetic.
    """
    native = has_native_bf16(device)
    if requested == "auto":
        has = "has" if native else "has no"
        return Choice("bf16" if native else "fp32", f"{_describe(device)} {has} native bf16")
    if requested == "fp16" and device.type == "cpu" and not _cpu_has("avx512_fp16", "amx_fp16"):
        raise ConfigError(
            "fp16 needs hardware that this CPU lacks",
            where="train.precision",
            hint="use bf16 or fp32 on this CPU, or auto to let the device decide",
        )
    emulated = requested == "bf16" and not native
    note = f", though {_describe(device)} only emulates it, slowly" if emulated else ""
    return Choice(requested, f"asked for{note}")


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


def tune_device(device: torch.device) -> None:
    """Let CUDA use TF32 for what stays float32, and pick convolutions by timing them once.

    On the CPU have glibc keep the memory that each step frees, rather than return it to the system
    and fault it in again: steps take a quarter less time. Both thresholds count: when one is set,
    the other stays where it is, and blocks of 128 KiB are mapped anew each time.
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
