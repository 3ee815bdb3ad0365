"""The list of code files that may run: those that this user has named, unchanged since.

Configs, presets and checkpoints are data that anybody may have written. A file that one of them
names is therefore not run. The person names it on the command line; its path and SHA-256 are then
kept in the user's own state folder, never in a run, and hold from then on. Code that is named in
data is always read through `read_code`.
"""

import hashlib
import json
import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from filelock import FileLock

from sslcli.errors import ConfigError

_MAX_BYTES = 1 << 24
_now: set[tuple[str, str]] = set()  # named on this command line: the store may not be writable


def name_file(path: Path) -> None:
    """Let a file run from now on, as long as it does not change, since the person has named it.

    Raises:
        ConfigError: If it cannot be read.
    """
    where, named = os.path.realpath(path), hashlib.sha256(_read(path)).hexdigest()
    _now.add((where, named))
    with suppress(OSError, RuntimeError):  # if it cannot be written: name it each time
        _remember(_store(), where, named)


def read_code(path: Path, reference: str) -> bytes:
    """Return the code in a file that this user has named; only what is returned may be run.

    Args:
        path: The file.
        reference: What `--method` would say to name it.

    Raises:
        ConfigError: If nobody has named it, it has changed since, or it cannot be read.
    """
    code, where = _read(path), os.path.realpath(path)
    known = _known().get(where, [])
    sha256 = hashlib.sha256(code).hexdigest()
    if sha256 in known or (where, sha256) in _now:
        return code
    what = "has changed since you named it" if known else "holds code, which data may not start"
    hint = f"if you trust that file, add `method` {reference}"
    raise ConfigError(f"{path} {what}", "method.name", hint)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file of code, in hexadecimal."""
    return hashlib.sha256(_read(path)).hexdigest()


def _read(path: Path) -> bytes:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # reading a pipe could wait for ever
            raise ConfigError(f"{path} is no file", "method.name")
        with path.open("rb") as file:
            return file.read(_MAX_BYTES)
    except OSError as error:
        what = f"there is no file {path}" if not path.exists() else f"{path} cannot be read"
        hint = "the path is from the working folder; `method` names it where it lies now"
        raise ConfigError(what, "method.name", hint) from error


def _store() -> Path:
    """Return the file that keeps what was named, by the XDG rules for state."""
    chosen = os.environ.get("XDG_STATE_HOME", "")
    home = Path(chosen) if os.path.isabs(chosen) else Path.home() / ".local" / "state"
    return home / "sslcli" / "named-code.json"


def _known() -> dict[str, list[str]]:
    """Return the checksums of each named file; empty if others may write to the store."""
    try:
        with _store().open("rb") as file:
            if _is_open_to_others(os.fstat(file.fileno())):
                return {}
            found = json.loads(file.read())
        return {str(path): [str(each) for each in sums] for path, sums in found.items()}
    except (OSError, ValueError, AttributeError, TypeError, RuntimeError):
        return {}


def _is_open_to_others(status: os.stat_result) -> bool:
    """Say whether another user owns a file or may write to it."""
    if not hasattr(os, "getuid"):  # Windows keeps others out of a person's own folders
        return False
    return status.st_uid != os.getuid() or bool(status.st_mode & (stat.S_IWGRP | stat.S_IWOTH))


def _remember(store: Path, where: str, sha256: str) -> None:
    store.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with FileLock(store.with_suffix(".lock")):  # another command may name another file
        known = _known()
        if sha256 in known.get(where, []):
            return
        known[where] = [*known.get(where, []), sha256]
        descriptor, temporary = tempfile.mkstemp(dir=store.parent)  # readable by this user only
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(known, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, store)
