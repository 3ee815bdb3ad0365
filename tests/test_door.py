"""The Python door has a function for each command, with the same names, meanings and defaults."""

import inspect
import re
import subprocess
import sys

import pytest
import typer

import sslcli
from sslcli.cli.app import app
from sslcli.errors import CheckpointError

WITHOUT = {"presets", "methods", "data", "doctor"}  # they list and look; there is no result
RENAMED = {
    "ckpt": "run",  # takes what `load` and `pretrain` return, too
    "set_": "overrides",  # takes a mapping, too
    "class_": "class_",  # a word of Python
}
TERMINAL = {  # what only the command line has
    "json": "the function returns the numbers",
    "quiet": "the listener decides what is heard",
    "dry_run": "prints a plan",
    "require": "sets the exit code; in Python, compare",
    "peak_tflops": "is for the plan",
    "utilisation": "is for the plan",
    "per_class": "the result has it",
    "confusion": "draws what the result has",
    "max_restarts": "starts processes of the command",
}
PYTHON = {"listener"}  # what only the function has: who is told what happens
OPENED = {("robust-eval", "precision")}  # where None leaves an opened run its own
FUNCTIONS = {"import": "import_weights"}  # a word of Python
EMPTY = (None, (), False)  # defaults that say the same: nothing is given
COMMANDS = sorted(typer.main.get_command(app).commands.keys() - WITHOUT)


def name_of(command):
    return FUNCTIONS.get(command, command.replace("-", "_"))


def function_of(command):
    return getattr(sslcli, name_of(command))


def callback_of(command):
    return typer.main.get_command(app).commands[command].callback


def parameters(function):
    return inspect.signature(inspect.unwrap(function)).parameters


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_a_keyword_of_the_same_default(command):
    known = parameters(function_of(command))
    options = {
        RENAMED.get(name, name.removesuffix("_")): option.default
        for name, option in parameters(callback_of(command)).items()
        if name not in TERMINAL
    }
    assert options.keys() == known.keys() - PYTHON
    for name, default in options.items():
        own = default if (command, name) in OPENED else known[name].default
        assert own == default or (own in EMPTY and default in EMPTY), name


@pytest.mark.parametrize("name", sorted({*COMMANDS, "load"}))
def test_every_function_documents_its_arguments_and_errors(name):
    function = function_of(name)
    text = inspect.getdoc(function)
    for argument in parameters(function):
        assert re.search(rf"^    {argument}: [A-Z\"]", text, re.M), argument
    assert re.search(r"^Raises:\n    SslError: ", text, re.M)


def test_the_door_lists_what_it_has():
    assert set(sslcli.__all__) == set(dir(sslcli))
    assert {name_of(each) for each in COMMANDS} < set(sslcli.__all__)
    for name in sslcli.__all__:
        assert getattr(sslcli, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'pretain'"):
        sslcli.pretain  # noqa: B018


def test_importing_the_door_imports_nothing_else():
    code = "import sys, sslcli; print(*sorted(m for m in sys.modules if m.startswith('sslcli.')))"
    assert not subprocess.check_output([sys.executable, "-c", code], text=True).strip()


def test_what_is_wrong_is_told_as_on_the_command_line(tmp_path):
    with pytest.raises(CheckpointError) as caught:
        sslcli.load(tmp_path)
    assert isinstance(caught.value, sslcli.SslError)
    assert str(tmp_path) in caught.value.where
    assert caught.value.hint
