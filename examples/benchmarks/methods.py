"""Divide the time of a method's bare encoder passes by that of its whole training step.

A first step notes which passes the encoder and its copies make, of what size, with or without
gradient. The bare passes repeat just those, forward and, where there is a gradient, backward, on
noise. The step also makes views, computes the loss, and updates weights, targets and memory. Both
take turns in one process, and the median of the rounds' ratios counts; 1 would be a method that
costs nothing beyond its encoder. With one thread (OMP_NUM_THREADS=1) on a CPU it is processor time
that is compared, which other work on the machine disturbs less.

    python examples/benchmarks/methods.py [--setting cifar10-small] [--methods swav byol] [--json]
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from step import make
from torch import nn

from sslcli.config.presets import list_presets
from sslcli.engine.device import autocast
from sslcli.engine.loop import Parts, Training, steps, train_step
from sslcli.methods.amdim import AMDIM
from sslcli.methods.base import Method
from sslcli.methods.cpc import CPC


@dataclass(frozen=True)
class Pass:
    """One pass through a network: which, the shape of its input, whether it has a gradient."""

    encoder: nn.Module
    shape: tuple[int, ...]
    has_gradient: bool


def passes_of(training: Training, batches: Parts) -> list[Pass]:
    """Make a step and return the passes through the encoder and other networks that count."""
    seen: list[Pass] = []

    def note(encoder: nn.Module, inputs: tuple, output: object) -> None:
        grad = torch.is_grad_enabled() and any(p.requires_grad for p in encoder.parameters())
        seen.append(Pass(encoder, tuple(inputs[0].shape), grad))

    kinds = counted(training.method)
    networks = [module for module in training.method.modules() if type(module) in kinds]
    hooks = [network.register_forward_hook(note) for network in networks]
    train_step(training, batches)
    for hook in hooks:
        hook.remove()
    return seen


def counted(method: Method) -> tuple[type[nn.Module], ...]:
    """Return the kinds of networks whose passes count: the encoder's; of CPC contexts as well."""
    if isinstance(method, AMDIM):  # which takes local features, too, out of the network within
        return (type(method.encoder.network),)
    if isinstance(method, CPC):  # whose encoder cuts patches before its network runs
        return type(method.encoder.network), type(method.contexts[0])
    return (type(method.encoder),)


def bare(training: Training, passes: list[Pass], images: dict[tuple[int, ...], torch.Tensor]):
    """Repeat the passes."""
    for each in passes:
        with torch.set_grad_enabled(each.has_gradient):
            with autocast(training.device, training.precision):
                features = each.encoder(images[each.shape])
            if each.has_gradient:
                outputs = features if isinstance(features, tuple) else (features,)
                torch.stack([output.float().sum() for output in outputs]).sum().backward()


def seconds(work: Callable[[], object]) -> float:
    has_device = torch.cuda.is_available()
    alone = torch.get_num_threads() == 1 and not has_device
    clock = time.process_time if alone else time.perf_counter
    wait = torch.cuda.synchronize if has_device else lambda: None
    wait()
    start = clock()
    work()
    wait()
    return clock() - start


def measure(preset: str, batch: int | None, count: int, rounds: int) -> dict:
    training = make(preset, batch)
    batches = steps(training)
    passes = passes_of(training, next(batches))
    images = {
        each.shape: torch.randn(each.shape, device=training.device).contiguous(
            memory_format=torch.channels_last
        )
        for each in passes
    }
    repeat = partial(bare, training, passes, images)
    repeat()
    ratios, loops = [], []
    for _ in range(rounds):
        loops.append(seconds(lambda: [train_step(training, next(batches)) for _ in range(count)]))
        ratios.append(seconds(lambda: [repeat() for _ in range(count)]) / loops[-1])
    size = training.config.train.batch_size
    return {
        "preset": preset,
        "passes": len(passes),
        "images_per_second": size * count / statistics.median(loops),
        "ratio": statistics.median(ratios),
        "lowest": min(ratios),
        "highest": max(ratios),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--setting", default="cifar10-small")
    parser.add_argument("--methods", nargs="*", default=[], help="all by default")
    parser.add_argument("--batch", type=int, help="instead of the preset's")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    names = [name for name in list_presets() if name.endswith(f"/{options.setting}")]
    names = [f"{method}/{options.setting}" for method in options.methods] or names
    found = [measure(name, options.batch, options.steps, options.rounds) for name in names]
    if options.json:
        print(json.dumps({"threads": torch.get_num_threads(), "rows": found}))
        return
    print(f"bare encoder passes / whole training step, {torch.get_num_threads()} threads")
    print(f"{'preset':<28}{'passes':>7}{'images/s':>10}{'ratio':>8}{'lowest':>8}{'highest':>9}")
    for row in found:
        shape = f"{row['preset']:<28}{row['passes']:7}{row['images_per_second']:10.0f}"
        print(f"{shape}{row['ratio']:8.3f}{row['lowest']:8.3f}{row['highest']:9.3f}")


if __name__ == "__main__":
    main()
