"""The studies go on where they were stopped, and leave a table, numbers and a figure."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "examples" / "studies"
TINY = ["--methods", "supervised,igebm", "--set", 'train.duration="2 steps"']


def energy(out):
    """Run the study in its smallest form; return what it says on stdout and stderr."""
    environment = {**os.environ, "SSL_CACHE": str(out / "cache")}
    environment.pop("SSL_DATA", None)
    command = [sys.executable, str(FOLDER / "energy.py"), "--out", str(out), *TINY]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """Return the folder of a study that is done, and what it printed."""
    out = tmp_path_factory.mktemp("energy")
    return out, energy(out)[0]


def test_energy_measures_each_method_and_draws(first):
    out, printed = first
    found = json.loads((out / "energy.json").read_text())["digits"]
    assert found.keys() == {"supervised", "igebm"}
    for numbers in found.values():
        assert 0 <= numbers["top1"]["mean"] <= 1
        assert 0 <= numbers["auroc/log-p/constant"]["mean"] <= 1
    assert "auroc/msp/constant" in found["supervised"]
    assert printed.count("| igebm |") == 2
    assert (out / "energy.png").stat().st_size > 10_000


def test_energy_skips_what_is_done(first):
    out, printed = first
    (out / "digits" / "supervised-0" / "study-ood.json").unlink()
    again, talk = energy(out)
    commands = [line.split()[2:] for line in talk.splitlines() if line.startswith("$")]
    assert [words[0] for words in commands] == ["pretrain", "ood-detect"]
    assert commands[0][-1] == "--resume"
    assert "igebm" not in talk
    assert again == printed
