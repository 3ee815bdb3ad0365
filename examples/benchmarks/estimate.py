"""Compare the memory that `--dry-run` estimates with what a training takes at its peak, on a CPU.

Each training makes two steps in a process of its own, on random images, or on photos with --photos.
What it takes is the most anonymous and shared memory of that process and its workers, above what
the same process held after another, tiny training (Linux only). Sizes suit a machine of 8 GiB.

    python examples/benchmarks/estimate.py [--photos FOLDER] [--only simsiam,dino] [--json]
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

import sslcli

KINDS = {  # preset, precision, what makes it small enough
    "CNN, small images": ("simsiam/cifar10-small", "fp32", {"train.batch_size": 512}),
    "transformer, ten crops": ("dino/imagenet", "bf16", {"train.batch_size": 8}),
    "ResNet-50, eight crops": ("swav/imagenet-256", "fp32", {"train.batch_size": 8}),
    "queue and target": ("moco-v2/imagenet", "fp32", {"train.batch_size": 16}),
    "replay buffer": ("jem/cifar10", "fp32", {"train.batch_size": 16, "method.sampler.steps": 1}),
    "in chunks": ("simclr/cifar10", "fp32", {"train.batch_size": 512, "train.chunk_size": 128}),
    "in parts": ("byol/imagenet", "bf16", {"train.batch_size": 32, "train.accumulate": 4}),
    "photos, workers": ("simsiam/imagenet", "bf16", {"train.batch_size": 24}),
}
SHORT = {"train.duration": "2 steps", "schedule.warmup": "0 steps", "data.workers": 2}
MIB = 2**20


def make_images(folder: Path) -> Path:
    """Write random images of 32 pixels in ten classes."""
    noise = np.random.default_rng(0).integers(0, 256, (1500, 32, 32, 3), dtype=np.uint8)
    for row, pixels in enumerate(noise):
        file = folder / "noise" / str(row % 10) / f"{row}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(file)
    return folder / "noise"


def train(preset: str, precision: str, data: str, out: str, overrides: dict) -> None:
    """Train something tiny, wait for a word of the parent, then train what is measured."""
    same = {"device": "cpu", "overwrite": True}
    tiny = {"train.batch_size": 8, "encoder.width": 4, "train.duration": "1 steps"}
    sslcli.pretrain(
        preset="simsiam/digits", out=f"{out}/tiny", precision="fp32", overrides=tiny, **same
    )
    print("ready", flush=True)
    sys.stdin.readline()
    sslcli.pretrain(
        preset=preset, data=data, out=f"{out}/run", precision=precision, overrides=overrides, **same
    )


def kibibytes(file: Path, *names: str) -> int:
    """Return the sum of some rows of a file of /proc; 0 when the process has ended."""
    try:
        rows = (line.split() for line in file.read_text().splitlines())
        return sum(int(row[1]) for row in rows if row and row[0].rstrip(":") in names)
    except OSError:
        return 0


def taken(process: int) -> int:
    """Return the bytes of a process and of its workers, without files that it reads."""
    proc = Path("/proc")
    own = kibibytes(proc / str(process) / "status", "RssAnon", "RssShmem")
    try:
        children = (proc / str(process) / "task" / str(process) / "children").read_text().split()
    except OSError:
        return 0
    rollups = (proc / child / "smaps_rollup" for child in children)
    return 1024 * (own + sum(kibibytes(file, "Private_Dirty", "Pss_Shmem") for file in rollups))


def measure(preset: str, precision: str, data: str, overrides: dict) -> int:
    """Return the bytes that a training takes at its peak."""
    with tempfile.TemporaryDirectory() as out:
        words = [preset, precision, data, out, json.dumps(overrides)]
        child = subprocess.Popen(
            [sys.executable, __file__, "--train", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdin
        assert child.stdout
        child.stdout.readline()
        time.sleep(0.2)
        before = peak = taken(child.pid)
        child.stdin.write("go\n")
        child.stdin.flush()
        while child.poll() is None:
            peak = max(peak, taken(child.pid))
            time.sleep(0.005)
    if child.returncode:
        raise SystemExit(f"{preset} ended with {child.returncode}")
    return peak - before


def estimate(preset: str, precision: str, data: str, overrides: dict) -> int:
    """Return the bytes that `ssl pretrain --dry-run` tells of the same training."""
    words = ["--preset", preset, "--data", data, "--device", "cpu", "--precision", precision]
    for name, value in overrides.items():
        words += ["--set", f"{name}={json.dumps(value)}"]
    command = [sys.executable, "-m", "sslcli", "pretrain", *words, "--dry-run", "--json"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return int(json.loads(done.stdout)["memory"]["needed"])


def compare(name: str, noise: str, photos: str | None) -> dict[str, float] | None:
    """Return a kind's estimate and measurement in MiB; None where its data is missing."""
    preset, precision, changes = KINDS[name]
    data = photos if "photos" in name else noise
    if data is None:
        return None
    rows = (preset, precision, data, {**SHORT, **changes})
    told, found = estimate(*rows) / MIB, measure(*rows) / MIB
    return {"estimate": told, "measured": found, "ratio": told / found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", help="a folder of photos of several sizes, for workers")
    parser.add_argument("--only", help="words of kinds or presets, separated by commas")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--train", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.train:
        *words, overrides = options.train
        train(*words, json.loads(overrides))
        return
    asked = options.only.split(",") if options.only else [""]
    names = [n for n in KINDS if any(word in f"{n} {KINDS[n][0]}" for word in asked)]
    with tempfile.TemporaryDirectory() as folder:
        noise, found = str(make_images(Path(folder))), {}
        if not options.json:
            print(f"{'MiB':<26}{'preset':<24}{'estimate':>9}{'measured':>10}{'ratio':>7}")
        for name in names:
            if (row := compare(name, noise, options.photos)) is None:
                continue
            found[name] = row
            if not options.json:
                numbers = f"{row['estimate']:9.0f}{row['measured']:10.0f}{row['ratio']:7.2f}"
                print(f"{name:<26}{KINDS[name][0]:<24}{numbers}", flush=True)
    if options.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
