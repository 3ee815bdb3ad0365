"""Divide the time of a method's attack by that of the passes through the network that it needs.

CLAE needs one forward pass without a graph, and one with its backward pass to the images; AdvProp a
forward and a backward pass a step. The bare passes go through a copy of the network whose weights
ask for no gradient. Both take turns in one process on the same random images, and the median of the
rounds' ratios counts; with --processor-time, time that other programs take from this one is left
out.

    python examples/benchmarks/attack.py [--preset clae/cifar10-small] [--processor-time] [--json]
"""

import argparse
import copy
import json
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sslcli import assemble
from sslcli.config.methods.adversarial import AdvPropConfig
from sslcli.config.presets import resolve
from sslcli.engine.device import autocast, pick_device, resolve_precision, tune_device
from sslcli.methods.advprop import AdvProp
from sslcli.methods.clae import CLAE
from sslcli.nn.modes import evaluating


@dataclass(frozen=True)
class Case:
    """An attack, and the passes that it needs, on the same images."""

    attack: Callable[[], object]
    passes: Callable[[], object]


def backward(network: nn.Module, images: Tensor) -> None:
    """Make a forward pass and a backward pass to the images."""
    leaf = images.clone().requires_grad_()
    torch.autograd.grad(network(leaf).float().square().sum(), leaf)


def clae(method: CLAE, images: Tensor) -> Case:
    """Return CLAE's attack."""
    network = bare(method.encoder, method.projector)

    def passes() -> None:
        with torch.no_grad():
            network(images)
        backward(network, images)

    return Case(lambda: method.attacked(images), passes)


def advprop(method: AdvProp, images: Tensor) -> Case:
    """Return AdvProp's attack."""
    network, config = bare(method.encoder, method.classifier), method.config
    labels = torch.arange(len(images), device=images.device) % config.num_classes

    def passes() -> None:
        with evaluating(network) if config.attack.mode == "eval" else nullcontext():
            for _ in range(config.attack.steps):
                backward(network, images)

    return Case(lambda: method.attacked(images, labels), passes)


def bare(*parts: nn.Module) -> nn.Module:
    """Return a copy of a network whose weights ask for no gradient."""
    return copy.deepcopy(nn.Sequential(*parts)).requires_grad_(False)


def main() -> None:
    """Print the ratio, or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--preset", default="clae/cifar10-small")
    parser.add_argument("--batch", type=int, help="instead of the preset's")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--processor-time", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    device = pick_device("auto")
    tune_device(device)
    config = resolve(options.preset).config
    precision, _ = resolve_precision(config.train.precision, device)
    method = assemble.build_method(config, device).train()
    side, batch = config.views[0].size, options.batch or config.train.batch_size
    images = torch.randn(batch, 3, side, side, device=device)
    images = images.to(memory_format=torch.channels_last)
    case = (advprop if isinstance(config.method, AdvPropConfig) else clae)(method, images)
    clock = time.process_time if options.processor_time else time.perf_counter

    def timed(work: Callable[[], object]) -> float:
        start = clock()
        with autocast(device, precision):
            work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return clock() - start

    timed(case.attack), timed(case.passes)  # what is made once
    pairs = [(timed(case.attack), timed(case.passes)) for _ in range(options.rounds)]
    each = [attack / passes for attack, passes in pairs]
    found = {
        "preset": options.preset, "batch": batch, "precision": precision,
        "attack_seconds": statistics.median(attack for attack, _ in pairs),
        "ratio": statistics.median(each), "rounds": each,
    }  # fmt: skip
    if options.json:
        print(json.dumps(found))
        return
    spread = f"{min(each):.2f} to {max(each):.2f}"
    print(f"{options.preset}: the attack takes {found['ratio']:.2f} times its passes ({spread})")


if __name__ == "__main__":
    main()
