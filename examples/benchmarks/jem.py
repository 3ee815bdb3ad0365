"""Divide the time of a JEM step as the authors' script makes it by that of this tool.

The script's way (wgrathwohl/JEM, train_wrn_ebm.py): float32 and contiguous memory; chains through a
network whose weights ask for gradients, graph kept; a buffer on the CPU, its rows drawn with
repetition; a forward of its own for each of the three batches. Both take turns in one process on
the same random images, and the median of the rounds' ratios counts. Before that a chain of each
runs in float32 from the same starts with the same noise, and their largest difference is printed.

    python examples/benchmarks/jem.py [--encoder wrn-16-4] [--batch 64] [--steps 3] [--json]
"""

import argparse
import copy
import json
import statistics
import time

import torch
from step import random_images
from torch import Tensor, nn
from torch.nn import functional

from sslcli import assemble
from sslcli.config.presets import resolve
from sslcli.data.batch import Batch
from sslcli.engine.device import pick_device, resolve_precision, tune_device
from sslcli.engine.loop import Training, train_step
from sslcli.methods.jem import JEM
from sslcli.nn.modes import evaluating
from sslcli.perturb.sgld import sgld

NOISE, RESTART = 0.01, 0.05  # of both; the step size is 1


class Script:
    """The authors' step, written anew.

    Args:
        method: Whose weights are copied.
        steps: SGLD steps.
        batch: Chains.
    """

    def __init__(self, method: JEM, steps: int, batch: int) -> None:
        network = nn.Sequential(copy.deepcopy(method.encoder), copy.deepcopy(method.classifier))
        self.network = network.to(memory_format=torch.contiguous_format).float()
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=1e-4, betas=(0.9, 0.999))
        self.buffer = torch.empty_like(method.sampling.replay.images, device="cpu").uniform_(-1, 1)
        self.steps, self.batch = steps, batch
        self.device = method.classifier.weight.device

    def chain(self, starts: Tensor) -> Tensor:
        self.network.eval()
        x = starts.clone().requires_grad_()
        for _ in range(self.steps):
            log_p = self.network(x).logsumexp(1).sum()
            slope = torch.autograd.grad(log_p, [x], retain_graph=True)[0]
            x.data += slope + NOISE * torch.randn_like(x)
        self.network.train()
        return x.detach()

    def sample(self) -> Tensor:
        rows = torch.randint(0, len(self.buffer), (self.batch,))
        fresh = torch.empty(self.batch, *self.buffer.shape[1:]).uniform_(-1, 1)
        chosen = (torch.rand(self.batch) < RESTART).float()[:, None, None, None]
        starts = chosen * fresh + (1 - chosen) * self.buffer[rows]
        samples = self.chain(starts.to(self.device))
        self.buffer[rows] = samples.cpu()
        return samples

    def step(self, batch: Batch) -> None:
        samples = self.sample()
        data = self.network(batch.views[1]).logsumexp(1).mean()
        loss = self.network(samples).logsumexp(1).mean() - data
        loss = loss + functional.cross_entropy(self.network(batch.views[0]), batch.labels)
        if loss.abs().item() > 1e8:
            raise SystemExit("diverged")
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


def make(options: argparse.Namespace) -> Training:
    """Return a training of jem/cifar10 at the size asked for, and on this machine's device."""
    changes = {
        "encoder.name": options.encoder,
        "data.image_size": options.size,
        "method.replay.image_size": options.size,
        "method.sampler.steps": options.steps,
        "train.batch_size": options.batch,
        "train.compile": options.compile,
        "train.duration": "2000 steps",  # as long as its warm-up, and more
    }
    config = resolve("jem/cifar10", None, changes).config
    device = pick_device("auto")
    tune_device(device)
    precision, _ = resolve_precision("auto", device)
    source = random_images(2 * options.batch, options.size)
    return assemble.build_training(
        config, assemble.build_method(config, device), source, device, precision
    )


def random_batch(training: Training, options: argparse.Namespace) -> Batch:
    torch.manual_seed(0)
    shape = (options.batch, 3, options.size, options.size)
    views = [torch.rand(shape, device=training.device) * 2 - 1 for _ in range(2)]
    rows = torch.arange(options.batch, device=training.device)
    return Batch(views, rows, rows % 10)


def largest_difference(training: Training, script: Script, starts: Tensor) -> float:
    """Run a chain of each way in float32, with the same noise."""
    method = training.method
    torch.manual_seed(1)
    theirs = script.chain(starts)
    torch.manual_seed(1)
    with evaluating(method):
        ours = sgld(method.log_density, starts, method.sampling.settings).samples
    return (theirs - ours).abs().max().item()


def measure(options: argparse.Namespace) -> dict:
    training = make(options)
    script = Script(training.method, options.steps, options.batch)
    batch = random_batch(training, options)
    difference = largest_difference(training, script, batch.views[0])

    def seconds(work) -> float:
        start = time.perf_counter()
        for _ in range(options.repeat):
            work()
        next(iter(training.method.parameters())).sum().item()  # waits for the device
        return (time.perf_counter() - start) / options.repeat

    ways = lambda: script.step(batch), lambda: train_step(training, [batch])
    for way in ways:
        way()
    times = [[seconds(way) for way in ways] for _ in range(options.rounds)]
    ratios = [before / after for before, after in times]
    return {
        **vars(options),
        "precision": training.precision,
        "threads": torch.get_num_threads(),
        "seconds": [statistics.median(side) for side in zip(*times, strict=True)],
        "ratio": statistics.median(ratios),
        "lowest": min(ratios),
        "highest": max(ratios),
        "largest_difference": difference,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder", default="wrn-16-4")
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=3, help="of SGLD; the paper takes 20")
    parser.add_argument("--repeat", type=int, default=1, help="training steps a round and way")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--compile", action="store_true", help="compile this tool's step")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    row = measure(options)
    if options.json:
        print(json.dumps(row))
        return
    shape = f"{row['encoder']}, {row['size']} px, batch {row['batch']}, {row['steps']} SGLD steps"
    print(f"{shape}, {row['threads']} threads")
    print(f"{'way':<28}{'s / step':>10}{'ratio':>8}{'lowest':>8}{'highest':>9}")
    script, ours = row["seconds"]
    print(f"{'script, fp32 contiguous':<28}{script:10.3f}{1:8.2f}")
    ranges = f"{row['ratio']:8.2f}{row['lowest']:8.2f}{row['highest']:9.2f}"
    print(f"{'ssl, ' + row['precision'] + ' channels_last':<28}{ours:10.3f}{ranges}")
    print(f"largest difference of fp32 samples: {row['largest_difference']:.1e}")


if __name__ == "__main__":
    main()
