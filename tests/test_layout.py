"""The import table of the design: who may import whom."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "sslcli"
GROUND = {"errors", "files", "environment", "listener"}  # what everything may import
BELOW = {  # what the packages of each name may import, besides themselves and the ground
    "config": set(),
    "losses": set(),
    "memory": set(),
    "perturb": set(),
    "distributed": set(),
    "nn": {"config.schema"},
    "data": {"config"},
    "methods": {"config", "nn", "losses", "memory", "perturb", "distributed", "data.batch"},
    "engine": {"config", "data", "distributed", "methods.base"},
    "profile": {"config", "data", "distributed", "engine", "methods.base"},
    "evaluate": {"config", "data", "distributed", "engine", "nn", "perturb"},
    "figures": {"evaluate"},
    "formats": {"config", "engine.checkpoint", "nn"},
    "workflows": {
        *("assemble", "config", "data", "distributed", "engine", "evaluate", "figures", "formats"),
        *("methods", "nn", "perturb", "profile"),
    },
}
HEAVY = {"torch", "numpy", "torchvision", "timm", "faiss", "sklearn", "matplotlib", "PIL"}


def imported(file):
    """Return every module that a file imports, wherever the import stands."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def files():
    return sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("package", BELOW)
def test_packages_import_only_what_the_table_allows(package):
    allowed = {"__version__", package, *GROUND, *BELOW[package]}
    allowed = {f"sslcli.{name}" for name in allowed}
    for file in (PACKAGE / package).rglob("*.py"):
        for name in imported(file):
            if name == "sslcli" or not name.startswith("sslcli."):
                continue
            parents = {name.rsplit(".", n)[0] for n in range(name.count(".") + 1)}
            assert parents & allowed, f"{file.name} imports {name}"


@pytest.mark.parametrize("name", ["rich", "typer"])
def test_the_terminal_stays_in_the_command_line(name):
    for file in files():
        if PACKAGE / "cli" not in file.parents:
            assert not any(each.split(".")[0] == name for each in imported(file)), file


def test_nothing_imports_the_command_line():
    for file in files():
        if PACKAGE / "cli" not in file.parents and file.name != "__main__.py":
            assert not any(name.startswith("sslcli.cli") for name in imported(file)), file


def test_config_needs_neither_torch_nor_numpy():
    code = (
        "import sys, sslcli.config.presets\n"
        "sslcli.config.presets.resolve('simsiam/digits')\n"
        f"print(sorted({HEAVY!r} & set(sys.modules)))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nfrom sslcli.cli.app import app\n"
        "for words in (['--help'], ['pretrain', '--help'], ['data', 'check', '--help']):\n"
        "    app(words, standalone_mode=False)\n"
        f"heavy = {HEAVY | {'sslcli.config.schema'}!r} & set(sys.modules)\n"
        "sys.stderr.write(str(sorted(heavy)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_the_engine_names_no_method():
    from sslcli.config.methods.registry import METHODS

    for file in (PACKAGE / "engine").glob("*.py"):
        names = {
            n.value for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.Constant)
        }
        assert not names & set(METHODS), file


def test_modules_stay_short():
    for file in files():
        assert len(file.read_text().splitlines()) <= 300, file
