"""The import table of the design, its drawing in the README, and each file's first line."""

import ast
import graphlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "sslcli"
GROUND = {"errors", "files", "environment", "listener"}  # what every other room may import
BELOW = {  # each room (a package, or a file beside them), and what it may import of those above it
    "errors": set(),
    "files": {"errors"},
    "environment": {"errors"},
    "listener": set(),
    "config": set(),
    "losses": set(),
    "memory": set(),
    "perturb": set(),
    "distributed": set(),
    "nn": {"config.architectures", "config.encoder", "config.families", "config.section"},
    "data": {"config"},
    "methods": {
        *("config", "nn", "losses", "memory", "perturb", "distributed"),
        *("data.batch", "data.counter"),
    },
    "engine": {"config", "data", "distributed", "methods.base"},
    "profile": {"config", "data", "distributed", "engine", "methods.base"},
    "evaluate": {"config", "data", "engine", "nn", "perturb"},
    "figures": {"evaluate"},
    "formats": {"config", "data.images", "engine.checkpoint", "nn"},
    "assemble": {"config", "data", "distributed", "engine", "evaluate", "methods", "nn"},
}
BELOW["workflows"] = {*BELOW} - GROUND
BELOW["__init__"] = {"workflows"}  # the Python door
BELOW["cli"] = {*BELOW} - GROUND - {"__init__"}
BELOW["__main__"] = {"cli"}
HEAVY = {"torch", "numpy", "torchvision", "timm", "faiss", "sklearn", "matplotlib", "PIL"}


def imported(nodes):
    """Return every module that import statements name; a relative import is refused."""
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def imports(file):
    """Return every module that a file imports, wherever the import stands."""
    return imported(ast.walk(ast.parse(file.read_text())))


def files():
    return sorted(PACKAGE.rglob("*.py"))


def room(file):
    """Return the package that a file lies in, or the file's own name where it lies beside them."""
    first, *inside = file.relative_to(PACKAGE).parts
    return first if inside else Path(first).stem


def reached(arrows):
    """Return each room with every room that a walk along arrows leads to."""
    all_below = {}
    for name in graphlib.TopologicalSorter(arrows).static_order():
        ends = arrows.get(name, set())
        all_below[name] = ends.union(*(all_below[end] for end in ends))
    return all_below


@pytest.mark.parametrize("name", BELOW)
def test_a_file_imports_only_what_its_room_may(name):
    ground = {"__version__", *(() if name in GROUND else GROUND)}
    allowed = {f"sslcli.{each}" for each in {name, *BELOW[name], *ground}}
    for file in files():
        for found in imports(file) if room(file) == name else ():
            if found.startswith("sslcli."):
                parents = {found.rsplit(".", n)[0] for n in range(found.count(".") + 1)}
                assert parents & allowed, f"{file} imports {found}"


def test_every_file_has_a_room_in_the_table():
    assert {room(file) for file in files()} == set(BELOW)


def test_each_room_imports_only_rooms_above_it_in_the_table():
    above = set()
    for name, allowed in BELOW.items():
        assert {each.split(".")[0] for each in allowed} <= above, name
        above.add(name)


def test_the_drawing_in_the_readme_shows_the_table():
    drawing = re.search(r"```mermaid\n(.*?)```", (ROOT / "README.md").read_text(), re.S)[1]
    drawn = {}
    for start, ends in re.findall(r'^ *(\w+)(?:\[".*?"\])? --> (.+)$', drawing, re.M):
        drawn.setdefault(start, set()).update(end.split("[")[0] for end in ends.split(" & "))
    table = {
        name: {each.split(".")[0] for each in allowed} - GROUND
        for name, allowed in BELOW.items()
        if name not in GROUND
    }
    assert reached(drawn) == reached(table)


def test_no_two_files_import_each_other_as_they_load():
    def as_it_loads(tree):
        for node in ast.iter_child_nodes(tree):
            for_types = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
            if not for_types and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node
                yield from as_it_loads(node)

    names = {".".join(file.relative_to(ROOT).with_suffix("").parts): file for file in files()}
    arrows = {
        name: imported(as_it_loads(ast.parse(file.read_text()))) & set(names)
        for name, file in names.items()
    }
    graphlib.TopologicalSorter(arrows).prepare()  # raises CycleError with the circle


def test_the_first_line_of_a_file_says_plainly_what_it_is():
    for file in files():
        first = (ast.get_docstring(ast.parse(file.read_text())) or "").split("\n")[0]
        assert len(first) <= 100, file
        assert re.search(r"[^.]\.$", first), file
        assert not re.match(r"(What|Who|How|Where|Which|When|Whether)\b", first), file


@pytest.mark.parametrize("name", ["rich", "typer"])
def test_the_terminal_stays_in_the_command_line(name):
    for file in files():
        if PACKAGE / "cli" not in file.parents:
            assert not any(each.split(".")[0] == name for each in imports(file)), file


def test_nothing_imports_the_command_line():
    for file in files():
        if PACKAGE / "cli" not in file.parents and file.name != "__main__.py":
            assert not any(name.startswith("sslcli.cli") for name in imports(file)), file


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


def test_only_methods_themselves_know_a_concrete_method():
    """The rooms above and below ask for a protocol, or for a class by its name in the config."""
    from sslcli.config.methods.registry import METHODS

    rooms = {"methods": "sslcli.methods", "sections": "sslcli.config.methods"}
    concrete = {
        f"{rooms[kind]}.{place.replace(':', '.')}"
        for places in METHODS.values()
        for kind, place in zip(("sections", "methods"), places, strict=True)
    }
    for file in files():
        is_theirs = room(file) == "methods" or PACKAGE / "config" / "methods" in file.parents
        assert is_theirs or not imports(file) & concrete, file


def test_modules_stay_short():
    for file in files():
        assert len(file.read_text().splitlines()) <= 300, file


def test_what_a_method_can_do_is_declared_and_never_guessed():
    guessed = {"method", "section", "config.method", "self.method", "checkpoint.config.method"}
    guessed |= {"encoder", "run.encoder", "self.encoder", "method.encoder"}
    for file in files():
        for node in ast.walk(ast.parse(file.read_text())):
            is_call = isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
            if is_call and node.func.id in ("hasattr", "getattr"):
                is_tag = file.name == "registry.py"  # pydantic hands it a table or a section
                assert is_tag or ast.unparse(node.args[0]) not in guessed, file
