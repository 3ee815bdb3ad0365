"""Code that configs and checkpoints name: it runs only when the person has named it."""

import json
import os
import py_compile
import shutil
import stat
import sys
import tomllib
from pathlib import Path

import pytest
import typer
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from sslcli.cli import app
from sslcli.engine.checkpoint import load_checkpoint
from sslcli.errors import ConfigError
from sslcli.methods import custom, trust

EXAMPLE = Path(__file__).parents[2] / "examples" / "custom_method.py"
SHORT = ("--preset", "simsiam/digits", "--set", 'train.duration="1 steps"', "--quiet")


@pytest.fixture(autouse=True)
def _forget(monkeypatch, tmp_path):
    """Begin as another user."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    _begin_anew(monkeypatch)


def _begin_anew(monkeypatch):
    """Begin as in another process."""
    monkeypatch.setattr(custom, "_named", {})
    monkeypatch.setattr(trust, "_now", set())
    for name in [name for name in sys.modules if name.startswith("sslcli_custom.")]:
        del sys.modules[name]


@pytest.fixture
def mine(tmp_path):
    """Return the reference of a method that leaves a mark when its file is run."""
    code = f"open({str(tmp_path / 'mark')!r}, 'w').close()\n"
    (tmp_path / "mine.py").write_text(EXAMPLE.read_text() + code)
    return f"{tmp_path / 'mine.py'}:VICReg"


@pytest.fixture
def has_run(tmp_path):
    def check():
        found = (tmp_path / "mark").exists()
        (tmp_path / "mark").unlink(missing_ok=True)
        return found

    return check


@pytest.fixture
def planted(trained, tmp_path, mine):
    """Return a run whose config and checkpoints say that their method is in the file."""
    run = tmp_path / "planted"
    shutil.copytree(trained, run)
    text = (run / "config.toml").read_text()
    (run / "config.toml").write_text(text.replace('name = "simsiam"', f"name = {mine!r}"))
    for file in (run / "checkpoint.safetensors", *run.glob("state/*/model.safetensors")):
        with safe_open(file, "pt") as opened:
            described = json.loads(opened.metadata()["sslcli"])
        described["config"]["method"]["name"] = mine
        tensors = load_file(file)
        file.unlink()
        save_file(tensors, file, {"sslcli": json.dumps(described)})
    assert tomllib.loads((run / "config.toml").read_text())["method"]["name"] == mine
    return run


def commands(group, words=()):
    """Yield the words and the parameters of every command."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*words, name))
        else:
            yield (*words, name), {parameter.name for parameter in command.params}


HEAD = ("--layers", "head")  # which no file but the method's can build
# What a command needs beside a checkpoint, and options under which it would build the method.
MORE = {
    "embed": [("--out", "x.npz")],
    "export": [("--out", "x.safetensors")],
    "finetune": [(), ("--from-head-layer", "1")],
    "knn-eval": [(), ("--baseline",), HEAD],
    "linear-eval": [("--baseline",), ("--protocol", "paper")],
    "map": [("--count", "50", "--by", "pca")],
    "neighbours": [("--count", "2", "--baseline")],
    "ood-detect": [("--ood", "far")],
    "robust-eval": [("--count", "8", "--steps", "1", "--restarts", "1")],
}
TINY = (
    "--set",
    'evaluation.finetune.duration="1 steps"',
    "--set",
    'evaluation.linear.duration="1 steps"',
)


def test_no_command_runs_a_file_that_only_data_names(
    ssl, planted, mine, has_run, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    tried = set()
    for words, parameters in commands(typer.main.get_command(app.app)):
        lines = []
        if {"ckpt", "teacher"} & parameters:
            tiny = TINY if "set_" in parameters else ()
            lines += [(*words, planted, *tiny, *more) for more in MORE.get(words[0], [()])]
        if "config" in parameters:
            lines += [
                (*words, f"--{kind}", planted / "config.toml") for kind in ("config", "preset")
            ]
            lines += [(*words, *SHORT, "--set", f"method.name={mine}")]
        if "name" in parameters:
            lines += [(*words, planted / "config.toml")]
        if "resume" in parameters and words == ("pretrain",):
            lines += [(*words, "--resume", "--out", planted)]
        for line in lines:
            outcome = ssl(*line)
            assert not has_run(), line
            assert outcome.code != 1, (line, outcome.err)
            if words[0] in ("pretrain", "bench") or line[-2:] == HEAD:
                assert outcome.code == 2
                assert f"add --method {mine}" in outcome.err
            tried.add(words[0])
    assert tried >= {"pretrain", "bench", "presets", *MORE}


def test_a_file_named_once_runs_until_it_changes(ssl, tmp_path, mine, has_run, monkeypatch):
    run = tmp_path / "run"
    assert ssl("pretrain", *SHORT, "--method", mine, "--out", run).code == 0
    assert has_run()
    store = tmp_path / "state" / "sslcli" / "named-code.json"
    assert stat.S_IMODE(store.stat().st_mode) == 0o600
    sha256 = trust.sha256_of(tmp_path / "mine.py")
    assert json.loads(store.read_text()) == {str(tmp_path / "mine.py"): [sha256]}
    assert load_checkpoint(run).facts["code"] == {
        "file": str(tmp_path / "mine.py"),
        "sha256": sha256,
    }
    _begin_anew(monkeypatch)
    assert ssl("pretrain", "--resume", "--out", run, "--set", 'train.duration="2 steps"').code == 0
    assert has_run()
    (tmp_path / "mine.py").write_text((tmp_path / "mine.py").read_text() + "# more\n")
    _begin_anew(monkeypatch)
    changed = ssl("pretrain", "--resume", "--out", run)
    assert changed.code == 2
    assert "has changed since" in changed.err
    assert not has_run()
    longer = ("--set", 'train.duration="3 steps"')
    named = ssl("pretrain", "--resume", "--out", run, *longer, "--method", mine)
    assert named.code == 0
    assert "other code than this run began with" in named.err


def test_a_moved_file_is_named_anew_by_evaluations(ssl, planted, mine, tmp_path):
    moved = tmp_path / "elsewhere" / "mine.py"
    moved.parent.mkdir()
    shutil.move(tmp_path / "mine.py", moved)
    words = ("knn-eval", planted, "--quiet", *HEAD)
    assert "there is no file" in ssl(*words).err
    other = ssl(*words, "--method", f"{moved}:Other")
    assert other.code == 2
    assert "not" in other.err
    assert ssl(*words, "--method", f"{moved}:VICReg").code != 1


def test_a_store_that_others_may_write_says_nothing(tmp_path, mine):
    path = tmp_path / "mine.py"
    trust.name_file(path)
    trust._now.clear()
    assert trust.read_code(path, mine)
    (tmp_path / "state" / "sslcli" / "named-code.json").chmod(0o666)
    with pytest.raises(ConfigError):
        trust.read_code(path, mine)


def test_compiled_code_beside_the_file_is_not_run(tmp_path, mine, has_run):
    path = tmp_path / "mine.py"
    custom.name_code(mine)
    harmless = path.read_bytes()
    path.write_text("raise SystemExit('planted')\n".ljust(len(harmless) - 1, "#") + "\n")
    py_compile.compile(str(path))
    status = path.stat()
    path.write_bytes(harmless)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert custom.load_class(mine).__name__ == "VICReg"
    assert has_run()
