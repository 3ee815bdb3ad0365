"""Checks of `ssl doctor`: other processes, the network's names, and environment variables."""

import os
import socket
import threading
import time
from collections.abc import Iterator

from sslcli.cli.doctor.checkup import Finding, State

NAME_SECONDS = 0.5
_LAUNCHER = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
EFFECTS = {
    "CUDA_LAUNCH_BLOCKING": "every CUDA kernel is waited for: several times slower",
    "CUDA_VISIBLE_DEVICES": "only these GPUs are seen",
    "DNNL_MAX_CPU_ISA": "may keep the CPU from its bf16 instructions",
    "KMP_AFFINITY": "pins threads to cores; worker processes inherit it",
    "ATEN_CPU_CAPABILITY": "may keep the CPU from its widest instructions; changes rounding",
    "MKL_NUM_THREADS": "overrides OMP_NUM_THREADS in matrix products",
    "NVIDIA_TF32_OVERRIDE": "decides over TF32 whatever we ask for; changes speed and rounding",
    "ONEDNN_DEFAULT_FPMATH_MODE": "may compute fp32 in bf16; changes results",
    "PYTHONOPTIMIZE": "removes assertions, with them the checks of our own mistakes",
    "PYTHONPATH": "modules in these folders hide installed ones",
    "PYTORCH_NO_CUDA_MEMORY_CACHING": "every tensor is allocated anew: several times slower",
    "TORCHDYNAMO_DISABLE": "train.compile does nothing",
    "TORCH_COMPILE_DISABLE": "train.compile does nothing",
}
_HARMFUL = ("CUDA_LAUNCH_BLOCKING", "PYTORCH_NO_CUDA_MEMORY_CACHING", "ONEDNN_DEFAULT_FPMATH_MODE")


def processes() -> Iterator[Finding]:
    """Say which ways of training with several processes torch was built with."""
    from torch import distributed

    if not distributed.is_available():
        advice = "install a torch with it to train with several processes"
        yield Finding("processes", "note", "this torch has no torch.distributed", advice)
        return
    there = {"gloo": distributed.is_gloo_available(), "nccl": distributed.is_nccl_available()}
    found = ", ".join(name for name, is_there in there.items() if is_there) or "no backend"
    if there["gloo"]:
        yield Finding("processes", "ok", found)
    else:
        advice = "install a torch with gloo: several processes agree through it"
        yield Finding("processes", "warning", found, advice)


def host_name() -> Iterator[Finding]:
    """Resolve this machine's own name, which processes do to find each other."""
    name, error, seconds = socket.gethostname(), [], time.perf_counter()

    def resolve() -> None:
        try:
            socket.getaddrinfo(name, None)
        except OSError as problem:
            error.append(problem.strerror or str(problem))

    waiting = threading.Thread(target=resolve, daemon=True)
    waiting.start()
    waiting.join(NAME_SECONDS)
    seconds = time.perf_counter() - seconds
    advice = f"several processes may wait for it: add 127.0.1.1 {name} to /etc/hosts"
    if waiting.is_alive():
        found = f"{name} takes more than {NAME_SECONDS} s to resolve"
        yield Finding("host name", "warning", found, advice)
    elif error:
        yield Finding("host name", "warning", f"{name} cannot be resolved: {error[0]}", advice)
    else:
        yield Finding("host name", "ok", f"{name}, resolved in {1000 * seconds:.0f} ms")


def environment() -> Iterator[Finding]:
    """Name the environment variables that change results, slow down or block."""
    findings = [*_launcher(), *_effects()]
    yield from findings or [Finding("environment", "ok", "no variable is set that matters")]


def _launcher() -> Iterator[Finding]:
    """Read a launcher's variables: a whole set is a launch, a part of one is left over."""
    from sslcli.environment import world
    from sslcli.errors import UsageError

    given = [name for name in _LAUNCHER if name in os.environ]
    given += sorted(name for name in os.environ if name.startswith("TORCHELASTIC_"))
    text = " ".join(f"{name}={os.environ[name]}" for name in given)
    try:
        here = world()
    except UsageError as error:
        advice = f"every training refuses to start: unset {' '.join(given) or error.where}"
        yield Finding("environment", "fault", f"{error.what}: {error.where}; {text}", advice)
        return
    if here.launcher != "none":
        advice = f"left over, it waits for processes that never come: unset {' '.join(given)}"
        found = f"process {here.rank} of {here.size}, started by {here.launcher}: {text}"
        yield Finding("environment", "note", found.rstrip(": "), advice)
    elif given:
        advice = f"of no effect without RANK: unset {' '.join(given)}"
        yield Finding("environment", "note", f"left over from a launcher: {text}", advice)


def _effects() -> Iterator[Finding]:
    for name, effect in EFFECTS.items():
        if os.environ.get(name) not in (None, "", "0") or (
            name in ("CUDA_VISIBLE_DEVICES", "NVIDIA_TF32_OVERRIDE") and name in os.environ
        ):
            state: State = "warning" if name in _HARMFUL else "note"
            advice = f"unset {name}" if name in _HARMFUL else f"unset {name} unless it is meant"
            yield Finding("environment", state, f"{name}={os.environ[name]}: {effect}", advice)
