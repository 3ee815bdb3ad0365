"""What goes to the streams, and streams that take nothing."""

import os
import subprocess
import sys

import pytest

from sslcli.cli import show


def test_a_pipe_gets_the_same_lines_under_force_color(ssl, monkeypatch):
    plain = ssl("methods").out
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.setenv(name, "1")
    assert ssl("methods").out == plain
    assert "\t" in plain
    assert not show.console(stderr=True).is_terminal


def run(words, **streams):
    return subprocess.run(
        [sys.executable, "-m", "sslcli", *words], stderr=subprocess.PIPE, text=True, **streams
    )


COMMANDS = [("--help",), ("methods",), ("presets", "list", "--json")]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux")
@pytest.mark.parametrize("words", COMMANDS)
def test_a_full_disk_under_stdout_is_told_on_stderr(words):
    with open("/dev/full", "w") as full:
        done = run(words, stdout=full)
    assert done.returncode == 4
    assert done.stderr.startswith("error: the output cannot be written: no space left")
    assert "where: stdout" in done.stderr


@pytest.mark.parametrize("words", COMMANDS[1:])
def test_a_closed_stdout_is_told_on_stderr(words):
    done = run(words, preexec_fn=lambda: os.close(1))
    assert done.returncode == 4
    assert done.stderr.startswith("error: the output cannot be written: bad file")


def test_a_fault_keeps_its_exit_code_when_it_cannot_be_told():
    words = ("presets", "show", "nowhere", "--json")
    assert run(words, preexec_fn=lambda: os.close(1)).returncode == 2
    both = subprocess.run(
        [sys.executable, "-m", "sslcli", *words],
        stdout=subprocess.DEVNULL,
        preexec_fn=lambda: os.close(2),
    )
    assert both.returncode == 2


def test_a_reader_that_has_gone_is_no_fault():
    reading, writing = os.pipe()
    os.close(reading)
    done = run(("presets", "list"), stdout=writing)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")
