"""Measure how soon the command line answers: help, and a config's faults.

The ratio is to Python starting and doing nothing.

    python examples/benchmarks/startup.py [--rounds 9] [--json]
"""

import argparse
import json
import statistics
import subprocess
import sys
import time

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "ssl --help": ["-m", "sslcli", "--help"],
    "ssl pretrain --help": ["-m", "sslcli", "pretrain", "--help"],
    "a config typo": [
        "-m",
        "sslcli",
        "pretrain",
        "--method",
        "simsiam",
        "--set",
        "train.duratoin=1",
    ],
    "python -c 'import torch'": ["-c", "import torch"],
}


def seconds(arguments: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], capture_output=True, check=False)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(options.rounds + 1):
        for name, arguments in COMMANDS.items():
            times[name].append(seconds(arguments))
    medians = {name: statistics.median(taken[1:]) for name, taken in times.items()}
    bare = next(iter(medians.values()))
    rows = [
        {"command": name, "median": median, "lowest": min(times[name][1:]), "ratio": median / bare}
        for name, median in medians.items()
    ]
    if options.json:
        print(json.dumps({"rounds": options.rounds, "rows": rows}))
        return
    print(f"{'command':<26}{'median':>9}{'lowest':>9}{'ratio':>8}")
    for row in rows:
        times_taken = f"{row['median']:8.3f}s{row['lowest']:8.3f}s"
        print(f"{row['command']:<26}{times_taken}{row['ratio']:8.1f}")


if __name__ == "__main__":
    main()
