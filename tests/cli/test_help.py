"""Every command and option says what it does; every example in the help is one that parses."""

import re
import shlex

import pytest
from typer.main import get_command

from sslcli.cli.app import app


def _commands(command, path=()):
    """Yield every command with the words that call it."""
    yield path, command
    for name, each in getattr(command, "commands", {}).items():
        yield from _commands(each, (*path, name))


COMMANDS = dict(_commands(get_command(app)))
LEAVES = {path: each for path, each in COMMANDS.items() if not getattr(each, "commands", None)}
EXAMPLES = [
    line.strip()
    for each in LEAVES.values()
    for line in (each.help or "").splitlines()
    if line.strip().startswith("ssl ")
]


def test_there_are_the_commands_of_the_spine():
    names = {"pretrain", "finetune", "linear-eval", "knn-eval", "embed", "export", "methods"}
    assert names <= {path[0] for path in LEAVES}
    assert {("presets", "list"), ("presets", "show"), ("presets", "copy")} <= LEAVES.keys()


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_and_option_has_help(path):
    command = COMMANDS[path]
    assert command.help
    for parameter in command.params:
        assert getattr(parameter, "help", None), parameter.name


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_every_command_shows_an_example_of_itself(path):
    assert f"ssl {' '.join(path)}" in (LEAVES[path].help or "")


@pytest.mark.parametrize("line", EXAMPLES)
def test_examples_parse(line):
    words = shlex.split(line)[1:]
    path = next(path for n in (2, 1) if (path := tuple(words[:n])) in LEAVES)
    context = LEAVES[path].make_context("ssl", words[len(path) :])
    assert context.command is LEAVES[path]


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_is_shown(ssl, path):
    outcome = ssl(*path, "--help")
    assert outcome.code == 0
    assert "Usage: ssl" in outcome.out


def test_a_group_alone_shows_its_help(ssl):
    for words in ([], ["presets"], ["data"]):
        outcome = ssl(*words)
        assert outcome.code == 2
        assert "Usage: ssl" in outcome.out + outcome.err
        assert "error" not in outcome.err


def test_help_groups_the_options(ssl):
    shown = ssl("pretrain", "--help").out
    for title in ("What to do", "Data", "Run", "Device", "Output"):
        assert re.search(rf"\u2500 {title} \u2500", shown), title


def test_the_version_is_printed(ssl):
    assert re.fullmatch(r"sslcli \d+\.\d+\S*\n", ssl("--version").out)


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_text_holds_no_brackets_that_would_be_read_as_markup(path):
    texts = [COMMANDS[path].help, *(getattr(each, "help", "") for each in COMMANDS[path].params)]
    assert not [text for text in texts if "[" in (text or "")]
