"""Run the command line inside the test's process, the way `main` does."""

import json
import sys
from dataclasses import dataclass

import pytest
import torch
from PIL import Image

from sslcli.cli import app, show


@dataclass
class Outcome:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        """The one JSON object on stdout; no other line, no NaN."""

        def refuse(constant):
            raise ValueError(constant)

        (line,) = self.out.splitlines()
        return json.loads(line, parse_constant=refuse)


@pytest.fixture
def ssl(monkeypatch, capsys):
    """Return a function that runs `ssl WORDS...` and returns its outcome."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["ssl", *map(str, words)])
        monkeypatch.setattr(show, "_printed_json", False)
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            app.main()
        caught = capsys.readouterr()
        assert "Traceback" not in caught.err
        return Outcome(ended.value.code, caught.out, caught.err)

    return run


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def run_once():
    """Return a function that runs `ssl WORDS...` for a fixture that many tests share."""

    def run(*words):
        before, sys.argv = sys.argv, ["ssl", *map(str, words)]
        try:
            with pytest.raises(SystemExit) as ended:
                app.main()
        finally:
            sys.argv = before
        assert ended.value.code == 0

    return run


@pytest.fixture(scope="session")
def trained(tmp_path_factory, run_once):
    """Return the folder of a short run on the built-in digits; tests must not change it."""
    folder = tmp_path_factory.mktemp("runs") / "digits"
    short = ("--set", 'train.duration="2 epochs"')
    run_once("pretrain", "--preset", "simsiam/digits", "--out", folder, "--quiet", *short)
    return folder


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """Return a folder of 24 tiny images in two classes; its name has spaces and an accent."""
    root = tmp_path_factory.mktemp("data") / "two classes \u00e9"
    for label, name in enumerate(("cats", "dogs")):
        (root / name).mkdir(parents=True)
        for index in range(12):
            colour = (100 * label + index, 5 * index, 50)
            Image.new("RGB", (10, 10), colour).save(root / name / f"{index}.png")
    return root


@pytest.fixture(scope="session")
def holed(tmp_path_factory):
    """Return a folder with parts of two digits, 20 images each; one of either is unreadable."""
    root = tmp_path_factory.mktemp("holed")
    for row in range(40):
        part, name = ("train", "test")[row % 2], row // 2 % 2
        (root / part / str(name)).mkdir(parents=True, exist_ok=True)
        file = root / part / str(name) / f"{row}.png"
        Image.new("RGB", (8, 8), (200 * name, 5 * row, 50)).save(file)
        if row < 2:
            file.write_bytes(b"")
    return root
