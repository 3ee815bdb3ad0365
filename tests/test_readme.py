"""The README names what there is, and nothing that is not."""

import re
import shlex
from pathlib import Path

import typer

from sslcli.cli.app import app
from sslcli.config.presets import list_presets

README = (Path(__file__).parent.parent / "README.md").read_text()


def commands():
    """Return each command's words and its click command."""
    root = typer.main.get_command(app)
    for name, command in root.commands.items():
        for child, grandchild in getattr(command, "commands", {}).items():
            yield f"ssl {name} {child}", grandchild
        if not hasattr(command, "commands"):
            yield f"ssl {name}", command


def test_every_command_and_preset_is_named():
    for words, _ in commands():
        group = words.split()
        assert words in README or (f"ssl {group[1]} " in README and group[-1] in README), words
    for preset in list_presets():
        assert preset in README, preset


def test_every_command_line_uses_options_that_exist():
    known = dict(commands())
    lines = [
        line for block in re.findall(r"```\n(.*?)```", README, re.S) for line in block.split("\n")
    ]
    checked = 0
    for line in lines:
        words = (
            shlex.split(line.removeprefix("$ "), comments=True)
            if line.startswith(("ssl ", "$ ssl "))
            else []
        )
        if not words:
            continue
        name = " ".join(words[:3]) if " ".join(words[:3]) in known else " ".join(words[:2])
        flags = {flag for parameter in known[name].params for flag in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= flags, line
        checked += 1
    assert checked >= 5
