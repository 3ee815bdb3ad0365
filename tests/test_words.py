"""What the library says names arguments and functions; only the command line writes options."""

import ast
import re
from pathlib import Path

import pytest

from sslcli.cli.app import app
from sslcli.cli.words import as_typed, option

PACKAGE = Path(__file__).parent.parent / "sslcli"
NO_FUNCTION = ("presets", "methods", "data", "doctor")  # commands that Python has no function for
COMMANDS = "|".join(each.name for each in app.registered_commands if each.name not in NO_FUNCTION)
TYPED = re.compile(rf"(?<![\w-])--[a-z]|\bssl ({COMMANDS})\b")
OTHERS = "tar --dereference --hard-dereference"  # options of another program


def said(file):
    """Yield every string of a file that is no docstring."""
    tree = ast.parse(file.read_text())
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and id(node) not in docstrings:
            yield str(node.value)


BELOW = sorted(each for each in PACKAGE.rglob("*.py") if PACKAGE / "cli" not in each.parents)


def test_nothing_below_the_command_line_speaks_of_options_or_commands():
    found = {
        f"{file.relative_to(PACKAGE)}: {text}"
        for file in BELOW
        for text in said(file)
        if TYPED.search(text.replace(OTHERS, ""))
    }
    assert not found


@pytest.mark.parametrize(
    ("text", "typed"),
    [
        ("lower `k`, or use `layers` head", "lower --k, or use --layers head"),
        ("`overrides` train.keep=0", "--set train.keep=0"),
        ("`format` timm, `eps_l2` 1", "--format timm, --eps-l2 1"),
        ("train one with `linear_eval()` CKPT", "train one with ssl linear-eval CKPT"),
        ("`ssl presets list` and `no_such` stay", "`ssl presets list` and `no_such` stay"),
    ],
)
def test_the_command_line_writes_options_and_commands(text, typed):
    assert as_typed(text) == typed


def test_what_is_no_argument_has_no_option():
    assert option("train.keep") == ""
