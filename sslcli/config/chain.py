"""Find config files, read them, and follow the files that they extend."""

import os
import re
import stat
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

from sslcli.config.explain import nearest
from sslcli.errors import ConfigError

# The longest preset has some hundred lines; a file beyond this was named by mistake.
_MAX_BYTES = 1 << 16
# Reading a key of n parts takes n ** 2 steps; the deepest key has six.
_MAX_DOTS = 200


class Layer(NamedTuple):
    """One file's table and the file."""

    table: dict[str, Any]
    path: Path


def preset_folders() -> list[Path]:
    """Return the folders that presets are looked up in, those of SSL_PRESETS first.

    Raises:
        ConfigError: If SSL_PRESETS names no folder.
    """
    own = [Path(part) for part in os.environ.get("SSL_PRESETS", "").split(os.pathsep) if part]
    for folder in own:
        if not folder.is_dir():
            raise ConfigError(f"there is no folder {folder}", "environment variable SSL_PRESETS")
    package = Path(__file__).resolve().parents[1]
    # A wheel carries its presets inside the package; a checkout has them beside it.
    shipped = (package / "presets", package.parent / "presets")
    return [*own, *[folder for folder in shipped if folder.is_dir()][:1]]


def catalogue() -> dict[str, Path]:
    """Return every file in the preset folders by name, such as "simsiam/cifar10"."""
    return {
        path.relative_to(folder).with_suffix("").as_posix(): path
        for folder in reversed(preset_folders())
        for path in sorted(folder.rglob("*.toml"))
    }


def find(reference: str, where: str, folder: Path | None = None) -> Path:
    """Return the file that a preset's name, or a path ending in .toml, stands for.

    Args:
        reference: "simsiam/cifar10", "_base/cifar10", "./mine.toml" or "/home/me/mine.toml".
        where: Who asks, for error messages.
        folder: What a relative path is relative to; the working directory by default.

    Raises:
        ConfigError: If no preset has this name.
    """
    if reference.endswith(".toml"):
        return (folder or Path()) / _expanded(reference, where)
    names = catalogue()
    if reference not in names:
        raise _unknown(reference, sorted(n for n in names if not is_shared(n)), where)
    return names[reference]


def _expanded(reference: str, where: str) -> Path:
    """Return a path with the home folder that "~" or "~name" stands for."""
    try:
        return Path(reference).expanduser()
    except RuntimeError as error:
        raise ConfigError(f"nobody's home folder is known for {reference}", where) from error


def is_shared(name: str) -> bool:
    """Say whether a file exists only to be extended."""
    return any(part.startswith("_") for part in name.split("/"))


def _unknown(name: str, presets: list[str], where: str) -> ConfigError:
    """Return the error for a name that no preset has."""
    method, _, setting = name.partition("/")
    methods = {preset.split("/")[0] for preset in presets}
    meant = [method] if method in methods else nearest(method, methods)
    settings = [preset.split("/", 1)[1] for preset in presets if preset.split("/")[0] in meant]
    likely = [f"{meant[0]}/{close}" for close in nearest(setting, settings, count=2) or settings]
    own = "`ssl presets list` shows them; the path of a file ends in .toml"
    hint = f"did you mean {' or '.join(likely)}?" if likely else own
    lacking = method in methods and not setting
    what = f"preset {name} lacks its setting" if lacking else f"there is no preset {name!r}"
    return ConfigError(what, where, hint)


def load_chain(path: Path, where: str) -> list[Layer]:
    """Read a file and everything it extends, the farthest parent first.

    Raises:
        ConfigError: If a file cannot be read, is no TOML, or extends itself in the end.
    """
    layers: list[Layer] = []
    seen: list[Path] = []
    while True:
        table = read_toml(path, where)
        if path.resolve() in seen:
            circle = " -> ".join(str(layer.path) for layer in reversed(layers))
            raise ConfigError("presets extend each other in a circle", f"{circle} -> {path}")
        seen.append(path.resolve())
        parent = table.pop("extends", None)
        layers.insert(0, Layer(table, path))
        if parent is None:
            return layers
        where = f"{path}, field extends"
        if not isinstance(parent, str):
            raise ConfigError("extends must be the name of a preset, or a path", where)
        path = find(parent, where, path.parent)
        if _may_never_end(path):
            raise ConfigError(f"{path} is no file", where, "extend a preset by its name")


def _may_never_end(path: Path) -> bool:
    """Say whether something is there that is no file: reading a pipe could block for ever."""
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError):
        return False  # reading says what is wrong


def read_toml(path: Path, where: str) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        ConfigError: If it is missing, a folder, unreadable, too large, no text, or no TOML.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"cannot read {path}: {reason.lower()}", where) from error
    if len(content) > _MAX_BYTES:
        raise ConfigError(f"{path} is too large to be a config", where, "name a .toml file")
    if any(line.count(b".") > _MAX_DOTS for line in content.splitlines()):
        what = f"a key is nested too deeply, or a line has more than {_MAX_DOTS} dots"
        raise ConfigError(what, str(path), "tables are nested 6 deep at most")
    try:
        return tomllib.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is no UTF-8 text", where, "name a .toml file") from error
    except (ValueError, RecursionError) as error:
        raise _syntax_fault(error, path) from error


def _syntax_fault(error: Exception, path: Path) -> ConfigError:
    """Return the error for broken TOML, with its line and column."""
    match = re.fullmatch(r"(.*) \(at (line \d+, column \d+|end of document)\)", str(error), re.S)
    message, position = match.groups() if match else (str(error), "")
    message = "it is nested too deeply" if isinstance(error, RecursionError) else message
    hint = "text needs quotes, tables [brackets]; see https://toml.io"
    return ConfigError(
        f"this is no TOML: {message}", ", ".join(filter(None, (str(path), position))), hint
    )
