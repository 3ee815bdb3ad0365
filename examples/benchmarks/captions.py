"""Compare CLIP's step with both towers' bare passes, and with open_clip's loss in a plain loop.

Ours is the step of `ssl pretrain`. The other is open_clip's `ClipLoss` in the loop of its training
script, on a copy of the same towers, with AdamW and the same precision. Both take the same batches,
made before (ready); and both start at the pictures and captions (whole), ours with its own views
and tokens, the other with torchvision's transforms on Pillow images and texts padded to the
context, in one process, as open_clip makes them. The bare passes are forward and backward of both
towers. All take turns in one process, and the median of the rounds' ratios counts. With one thread
(OMP_NUM_THREADS=1) on a CPU it is processor time that is compared, which other work on the machine
disturbs less. Without the extra `clip` the passes alone are compared.

    python examples/benchmarks/captions.py [--preset clip/scenes-colour] [--batch 64] [--json]
"""

import argparse
import copy
import importlib.util
import json
import math
import statistics
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import torch
from methods import seconds
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from sslcli import assemble
from sslcli.config.presets import resolve
from sslcli.data.batch import Batch
from sslcli.data.sources.base import Source
from sslcli.engine.device import autocast, pick_device, resolve_precision, tune_device
from sslcli.engine.loop import Training, steps, train_step


def make(preset: str, batch: int | None, data: str | None) -> tuple[Training, Source]:
    """Return a training of a preset on this machine's device, and the data."""
    changes = {
        "train.batch_size": batch, "train.duration": "1000 epochs", "data.source": data,
    }  # fmt: skip
    config = resolve(preset, None, {k: v for k, v in changes.items() if v}).config
    device = pick_device("auto")
    tune_device(device)
    precision, _ = resolve_precision("auto", device)
    source = assemble.open_training(config).train
    config = assemble.settled(config, source)
    method = assemble.build_method(config, device, assemble.facts_of(source))
    return assemble.build_training(config, method, source, device, precision), source


def clip_loss() -> torch.nn.Module | None:
    """Return open_clip's loss, whose file is loaded by itself; None if it is not installed."""
    package = importlib.util.find_spec("open_clip")
    if package is None or not package.submodule_search_locations:
        return None
    file = Path(package.submodule_search_locations[0]) / "loss.py"
    spec = importlib.util.spec_from_file_location("open_clip_loss", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.ClipLoss()


class PlainLoop:
    """The towers of a training with another loss, optimiser and loop."""

    def __init__(self, training: Training, loss: torch.nn.Module) -> None:
        self.training, self.loss = training, loss
        self.method = copy.deepcopy(training.method)
        named = [*self.method.named_parameters()]
        groups = [
            {"params": [p for _, p in named if p.ndim >= 2], "weight_decay": 0.1},
            {"params": [p for _, p in named if p.ndim < 2], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=1e-4)

    def step(self, images: Tensor, ids: Tensor, mask: Tensor) -> None:
        self.optimizer.zero_grad()
        towers, scale = self.method.towers(), self.method.log_scale
        with autocast(self.training.device, self.training.precision):
            seen = normalize(towers["image"](images), dim=-1)
            read = normalize(towers["text"](ids, mask), dim=-1)
            loss = self.loss(seen, read, scale.exp())
        loss.backward()
        self.optimizer.step()
        with torch.no_grad():
            scale.clamp_(0, math.log(100))


class Pairs(Dataset):
    """Pillow images behind torchvision's transforms, with tokens padded to the context."""

    def __init__(self, training: Training, source: Source) -> None:
        view, pixels = training.config.views[0], training.config.data.pixels
        self.source, self.words = source, assemble.text_views(training.config)
        self.length = training.config.texts[0].max_length
        crop = transforms.RandomResizedCrop(view.size, view.crop_scale, view.crop_ratio)
        scaled = transforms.Normalize(pixels.mean, pixels.std)
        self.transform = transforms.Compose([crop, transforms.ToTensor(), scaled])

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor, Tensor]:
        tokens = self.words.tokenizer.encode([self.source.text(row)], self.length)
        ids = torch.zeros(self.length, dtype=torch.int64)
        ids[: tokens.ids.shape[1]] = tokens.ids[0]
        mask = torch.arange(self.length) < tokens.ids.shape[1]
        return self.transform(Image.fromarray(self.source.load(row))), ids, mask

    def batches(self, size: int) -> Iterator[list[Tensor]]:
        while True:
            yield from DataLoader(self, size, shuffle=True, drop_last=True)


def passes(training: Training, batch: Batch) -> None:
    """Run both towers forward and backward."""
    text, method = batch.texts[0], training.method
    training.optimizer.zero_grad(set_to_none=True)
    with autocast(training.device, training.precision):
        seen, read = method.encoder(batch.views[0]), method.text_encoder(text.ids, text.mask)
    (seen.float().sum() + read.float().sum()).backward()


def measure(preset: str, batch: int | None, data: str | None, count: int, rounds: int) -> dict:
    training, source = make(preset, batch, data)
    size, own = training.config.train.batch_size, steps(training)
    ready = list(islice(training.loader.epoch(0), count))
    ways = {
        "ready": lambda: [train_step(training, [each]) for each in ready],
        "passes": lambda: [passes(training, each) for each in ready],
        "whole": lambda: [train_step(training, next(own)) for _ in range(count)],
    }
    if loss := clip_loss():
        plain = PlainLoop(training, loss)
        pairs = Pairs(training, source).batches(size)
        ways["open_clip_ready"] = lambda: [
            plain.step(each.views[0], each.texts[0].ids, each.texts[0].mask) for each in ready
        ]
        ways["open_clip_whole"] = lambda: [plain.step(*each) for each in islice(pairs, count)]
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for round_ in range(rounds + 1):
        for name, way in ways.items():
            spent = seconds(way)
            if round_:  # the first one warms up
                taken[name].append(spent)
    row = {"preset": preset, "batch": size, "precision": training.precision}
    row |= {f"{n}_img_s": size * count / statistics.median(each) for n, each in taken.items()}
    return row | {
        f"ratio_{name}": statistics.median(a / b for a, b in zip(*pair, strict=True))
        for name, pair in compared(taken).items()
    }


def compared(taken: dict[str, list[float]]) -> dict[str, tuple[list[float], list[float]]]:
    """Return the seconds of each comparison: our step over the passes, the other over ours."""
    found = {"step_over_passes": (taken["ready"], taken["passes"])}
    if "open_clip_ready" in taken:
        found |= {f"{n}_img_s": (taken[f"open_clip_{n}"], taken[n]) for n in ("ready", "whole")}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="clip/scenes-colour")
    parser.add_argument("--batch", type=int, help="instead of the preset's")
    parser.add_argument("--data", help="images with captions instead of the preset's")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    row = measure(
        options.preset, options.batch, options.data, options.steps, options.rounds
    )  # fmt: skip
    row["threads"] = torch.get_num_threads()
    if options.json:
        print(json.dumps(row))
        return
    print(f"{row['preset']}, batch {row['batch']}, {row['precision']}, {row['threads']} threads")
    for name, value in row.items():
        if isinstance(value, float):
            print(f"{name:<26}{value:10.3f}")


if __name__ == "__main__":
    main()
