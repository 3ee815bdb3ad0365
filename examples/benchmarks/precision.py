"""Compare bf16 channels_last with fp32 contiguous: forward and backward of an encoder.

Both take turns in one process on the same random images; the median of the rounds' ratios counts.
Beside it stands what `--precision auto` decides here, and by which times.

    python examples/benchmarks/precision.py [--encoder resnet18] [--batch 64] [--json]
"""

import argparse
import json
import statistics
import time

import torch

from sslcli.config.encoder import EncoderConfig
from sslcli.engine.device import autocast, pick_device, resolve_precision
from sslcli.nn.encoders import build_encoder


def passes(name: str, batch: int, size: int, precision: str, layout: torch.memory_format):
    """Return a function that runs forward and backward once."""
    device = pick_device("auto")
    torch.manual_seed(0)
    encoder = build_encoder(EncoderConfig(name=name, stem="cifar"), size)
    encoder = encoder.to(device).to(memory_format=layout)
    images = torch.randn(batch, 3, size, size, device=device).to(memory_format=layout)

    def run() -> float:
        start = time.perf_counter()
        with autocast(device, precision):
            features = encoder(images)
        loss = features.float().pow(2).mean()
        loss.backward()
        loss.item()
        return time.perf_counter() - start

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder", default="resnet18")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    shape = (options.encoder, options.batch, options.size)
    slow = passes(*shape, "fp32", torch.contiguous_format)
    fast = passes(*shape, "bf16", torch.channels_last)
    slow(), fast()
    times = [(slow(), fast()) for _ in range(options.rounds)]
    ratio = statistics.median(before / after for before, after in times)
    rates = [options.batch / statistics.median(side) for side in zip(*times, strict=True)]
    auto = resolve_precision("auto", pick_device("auto"))
    if options.json:
        found = {"images_per_second": rates, "ratio": ratio, "auto": auto._asdict()}
        print(json.dumps({**vars(options), **found}))
        return
    print(f"{options.encoder}, {options.size} px, batch {options.batch}, forward and backward")
    print(f"{'arithmetic':<20}{'images/s':>10}{'ratio':>8}")
    print(f"{'fp32 contiguous':<20}{rates[0]:10.1f}{1:8.2f}")
    print(f"{'bf16 channels_last':<20}{rates[1]:10.1f}{ratio:8.2f}")
    print(f"--precision auto is {auto.precision}: {auto.reason}")


if __name__ == "__main__":
    main()
