"""Time convolutions and products in fp32 and in bf16, once on each machine.

That a CPU has bf16 says little about its speed. The units of CPUs differ by an order of magnitude,
and the same CPU may be faster in bf16 at products and slower at convolutions.
"""

import json
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from statistics import median

import torch
from torch import Tensor
from torch.nn import functional

from sslcli.data.sources.base import digest
from sslcli.data.sources.index import cache_folder, write_whole
from sslcli.environment import is_busy

_ROUNDS, _TRIALS = 7, 3
_STEADY = 1.5  # the median round over the fastest; beyond, something else took the time
_FORMAT = "2"  # part of the entries' names: older ones may have been timed under load
_CPU_INFO = Path("/proc/cpuinfo")

Times = tuple[float, float]


@dataclass(frozen=True)
class Pace:
    """Milliseconds of forward and backward on this CPU, in fp32 and in bf16.

    Attributes:
        convolution: Of 3x3, 64 channels of 8 images, 32 by 32 pixels, channels last.
        product: Of two matrices of 512 by 512.
        spread: Median over fewest milliseconds of the rounds, where they differ most; 1 at rest.
    """

    convolution: Times
    product: Times
    spread: float = 1.0

    @property
    def gain(self) -> float:
        """Speed of bf16 over fp32, for the kind of work that gains less."""
        return min(before / after for before, after in (self.convolution, self.product))

    def __str__(self) -> str:
        kinds = {"a convolution": self.convolution, "a product": self.product}
        return ", ".join(
            f"{kind} takes {after:.1f} ms in bf16 and {before:.1f} in fp32"
            for kind, (before, after) in kinds.items()
        )


@cache
def machine_pace() -> Pace:
    """Return the times of this CPU with torch's threads, measured unless the cache has them.

    Rounds that disagree are repeated. Times that were taken beside other work serve this process
    alone; they are not cached.
    """
    machine = [_cpu_model(), str(torch.__version__), f"{torch.get_num_threads()} threads"]
    name = digest(_FORMAT.encode(), *(word.encode() for word in machine))
    entry = cache_folder() / "pace" / f"{name}.json"
    if known := _read(entry):
        return known
    made = _steadiest()
    if made.spread > _STEADY or is_busy():
        return made
    told = json.dumps({"machine": machine, **asdict(made)})
    write_whole(entry, lambda file: file.write(told.encode()) > 0)
    return made


def _steadiest() -> Pace:
    """Time until the rounds agree, a few times at most, and return the times that agree best."""
    made: list[Pace] = []
    while len(made) < _TRIALS and (not made or made[-1].spread > _STEADY):
        made.append(measure_pace())
    return min(made, key=lambda pace: pace.spread)


def measure_pace() -> Pace:
    """Time both kinds of work; torch's random state stays as it is."""
    draw = torch.Generator().manual_seed(0)
    images = torch.randn(8, 64, 32, 32, generator=draw).to(memory_format=torch.channels_last)
    kernel = torch.randn(64, 64, 3, 3, generator=draw).to(memory_format=torch.channels_last)
    left, right = (torch.randn(512, 512, generator=draw) for _ in range(2))
    convolution, uneven = _times(_convolved, images, kernel)
    product, spread = _times(torch.mm, left, right)
    return Pace(convolution, product, max(uneven, spread))


def _convolved(images: Tensor, kernel: Tensor) -> Tensor:
    return functional.conv2d(images, kernel, padding=1)


def _times(work: Callable[[Tensor, Tensor], Tensor], *inputs: Tensor) -> tuple[Times, float]:
    """Return the fewest milliseconds of some rounds and their spread, after one that warms up."""
    leaves = [each.requires_grad_() for each in inputs]

    def milliseconds(is_bf16: bool) -> float:
        start = time.perf_counter()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=is_bf16):
            made = work(*leaves)
        torch.autograd.grad(made.float().sum(), leaves)
        return 1e3 * (time.perf_counter() - start)

    rounds = [(milliseconds(False), milliseconds(True)) for _ in range(_ROUNDS + 1)][1:]
    sides = list(zip(*rounds, strict=True))
    full, half = map(min, sides)
    return (full, half), max(median(side) / min(side) for side in sides)


def _cpu_model() -> str:
    """Return the name of the CPU's model."""
    try:
        lines = _CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    found = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(found, platform.machine())


def _read(entry: Path) -> Pace | None:
    try:
        stored = json.loads(entry.read_text(encoding="utf-8"))
        pairs = [tuple(map(float, stored[kind])) for kind in ("convolution", "product")]
        (conv_full, conv_half), (full, half) = pairs
    except (OSError, ValueError, KeyError, TypeError):
        return None
    is_time = all(each > 0 for pair in pairs for each in pair)
    return Pace((conv_full, conv_half), (full, half)) if is_time else None
