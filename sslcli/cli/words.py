"""Write the arguments and functions that a message names as options and commands."""

import re
from typing import Any

import typer


def as_typed(text: str) -> str:
    """Write a message for the command line: `k` becomes --k, `knn_eval()` becomes ssl knn-eval."""
    return re.sub(r"`(\w+)(\(\))?`", lambda found: _spelling(found) or found[0], text)


def option(argument: str) -> str:
    """Return the option of an argument, such as --k for k; an empty text if there is none."""
    if argument == "overrides":
        return "--set"
    for command in _commands().values():
        for each in command.params:
            if each.param_type_name == "option" and str(each.name).removesuffix("_") == argument:
                return str(each.opts[0])
    return ""


def _spelling(found: re.Match[str]) -> str:
    name, is_function = found.groups()
    if not is_function:
        return option(name)
    named = (word for word, each in _commands().items() if _function(each) == name)
    return next((f"ssl {word}" for word in named), "")


def _function(command: Any) -> str:
    """Return the name of the function of a command, which is also its name in Python."""
    return str(getattr(command.callback, "__name__", ""))


def _commands() -> dict[str, Any]:
    from sslcli.cli.app import app

    return dict(getattr(typer.main.get_command(app), "commands", {}))
