"""What only a process of its own shows: signals, pipes, completion, terminals."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest

SSL = [sys.executable, "-m", "sslcli"]


def run(*words, **environment):
    return subprocess.run(
        [*SSL, *words], capture_output=True, text=True, env={**os.environ, **environment}
    )


def test_the_module_runs_as_the_command():
    assert run("--version").stdout.startswith("sslcli ")


def test_the_shell_completes_commands():
    words = {"_SSL_COMPLETE": "complete_bash", "COMP_WORDS": "ssl pre", "COMP_CWORD": "1"}
    assert set(run(**words).stdout.split()) == {"pretrain", "presets"}


def test_a_reader_that_leaves_is_no_fault():
    words = [*SSL, "presets", "show", "simsiam/digits"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_a_name_that_stdout_cannot_spell_is_escaped(tmp_path):
    target = str(tmp_path / "pr\u00e9.toml")
    done = run("presets", "copy", "simsiam/digits", target, PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert r"pr\xe9.toml" in done.stdout


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 75)])
def test_a_signal_saves_the_state(tmp_path, number, code):
    words = ["pretrain", "--preset", "simsiam/digits", "--out", str(tmp_path / "run")]
    process = subprocess.Popen([*SSL, *words], stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "run" / "metrics.jsonl").exists() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(number)
    said = process.communicate()[1]
    assert process.returncode == code
    assert "the state is saved" in said
    assert re.search(r"go on with: ssl pretrain --resume --preset \S+ --out \S+\n", said)
    assert len(list((tmp_path / "run" / "state").glob("step-*"))) >= 1


def on_terminal(*words, **environment):
    """Return what a command prints on a terminal of its own."""
    pty = pytest.importorskip("pty")
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [*SSL, *words], stdout=child, stderr=child, env={**os.environ, **environment}
    )
    os.close(child)
    chunks = []
    while True:
        try:
            chunk = os.read(parent, 65536)
        except OSError:  # Linux's way to say that the other side is closed
            break
        if not chunk:
            break
        chunks.append(chunk)
    os.close(parent)
    assert process.wait() == 0
    return b"".join(chunks).decode()


def test_a_terminal_shows_a_live_line_with_all_that_matters(tmp_path):
    words = ("pretrain", "--preset", "simsiam/digits", "--set", "encoder.width=8")
    words = (*words, "--set", 'train.duration="1 epochs"')
    shown = on_terminal(*words, "--out", str(tmp_path / "run"), TERM="xterm", COLUMNS="160")
    for part in ("\x1b[", "step 11/11", "epoch 1.00", "img/s", "loss", "std", "rank", "kNN"):
        assert part in shown


def test_no_color_and_dumb_terminals_get_plain_text():
    for plain in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        assert "\x1b" not in on_terminal("presets", "list", **plain)
