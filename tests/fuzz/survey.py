"""Run many mutations in child processes and tell what became of each.

A child (`python survey.py SUBJECT FIRST STOP FOLDER`) says which seed it begins before it begins,
so a crash or a hang of the process is attributed to its mutation; the parent goes on behind it.
A subject is a module with `prepare(folder)` and `ways(seed, folder)`, which writes a mutated file
and returns the ways of loading it, by name.
"""

import importlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

CPU_LIMIT = 2.0  # seconds; of this process, since other work may share the machine
WALL_LIMIT = 60.0  # seconds; then the system ends the child, whatever it is doing
MEMORY = 2 * 2**30  # bytes beyond what the imports take
LONGEST = 1_000  # characters of a message that a person can still read


def survey(subject: str, seeds: range, folder: Path) -> list[dict[str, Any]]:
    """Return a row for each seed: outcomes by way, seconds, and what is wrong if anything is."""
    rows: list[dict[str, Any]] = []
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "SSL_CACHE": str(folder / "cache")}
    (folder / "work").mkdir(parents=True, exist_ok=True)
    while len(rows) < len(seeds):
        bounds = [str(seeds[len(rows)]), str(seeds.stop)]
        words = [sys.executable, __file__, subject, *bounds, str(folder / "work")]
        done = subprocess.run(
            words, capture_output=True, text=True, env=environment, cwd=folder / "work"
        )
        found = [json.loads(line) for line in done.stdout.splitlines()]
        if not found:
            raise RuntimeError(f"the child did not begin: {done.stderr}")
        rows += [row for row in found if "ways" in row]
        if done.returncode:
            kind = "a hang" if done.returncode == -signal.SIGALRM else f"exit {done.returncode}"
            fault = f"{kind} of the process: {done.stderr[-2000:]}"
            rows.append({**found[-1], "ways": {}, "cpu": 0, "wall": 0, "fault": fault})
    return rows


def faults(rows: list[dict[str, Any]]) -> list[str]:
    """Return a line for each seed that was neither loaded nor clearly refused in time."""
    slow = [f"seed {row['seed']}: {row['cpu']:.1f} s" for row in rows if row["cpu"] > CPU_LIMIT]
    return slow + [f"seed {row['seed']}: {row['fault']}" for row in rows if row["fault"]]


def summary(rows: list[dict[str, Any]]) -> str:
    """Return how often each way ended how, and the slowest seed."""
    counts = Counter(f"{way} {end}" for row in rows for way, end in row["ways"].items())
    ends = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
    slowest = max(rows, key=lambda row: row["cpu"])
    peak = max(row.get("memory", 0) for row in rows)
    return (
        f"{len(rows)} files: {ends}; slowest seed {slowest['seed']} with {slowest['cpu']:.2f} s "
        f"of processor time, {max(row['wall'] for row in rows):.2f} s by the clock; {peak} MiB"
    )


def _child(subject: str, first: int, stop: int, folder: Path) -> None:
    module = importlib.import_module(subject)
    module.prepare(folder)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
    before = _peak()
    for seed in range(first, stop):
        print(json.dumps({"seed": seed}), flush=True)
        ways = module.ways(seed, folder)
        signal.setitimer(signal.ITIMER_REAL, WALL_LIMIT)  # nobody handles SIGALRM: it ends us
        row = _measured(ways)
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(json.dumps({"seed": seed, **row, "memory": _peak() - before}), flush=True)


def _measured(ways: dict[str, Callable[[], object]]) -> dict[str, Any]:
    ends, fault, cpu, wall = {}, "", 0.0, 0.0
    for name, load in ways.items():
        start = time.process_time(), time.monotonic()
        ends[name], complaint = _end(load)
        cpu = max(cpu, time.process_time() - start[0])
        wall = max(wall, time.monotonic() - start[1])
        fault = fault or (complaint and f"{name}: {complaint}")
    return {"ways": ends, "cpu": cpu, "wall": wall, "fault": fault}


def _end(load: Callable[[], object]) -> tuple[str, str]:
    """Return "loaded" or the kind of error, and what is wrong with that, or nothing."""
    from sslcli.errors import SslError

    try:
        load()
    except SslError as error:
        return type(error).__name__, _unclear(error)
    except BaseException:
        return "traceback", traceback.format_exc(limit=-8)
    return "loaded", ""


def _unclear(error: Any) -> str:
    """Return why a person could not act on an error, or nothing."""
    if type(error).__name__ == "SslError":
        return "an error of no kind"
    for fault in error.faults():
        text = f"{fault.what} {fault.where} {fault.hint}"
        if not fault.what.strip() or fault.what.endswith((":", ": ")):
            return f"an error without words: {text!r}"
        if len(text) > LONGEST or not text.isprintable():
            return f"an unreadable error: {text[:300]!r}"
    return "more than 100 faults at once" if len(error.faults()) > 100 else ""


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    _child(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
