"""Open what `--data` names: a built-in set, a folder, archives or a table."""

import difflib
import glob
import os
from collections.abc import Callable
from pathlib import Path

from sslcli.config.section import Column
from sslcli.data.images.files import WHITE
from sslcli.data.sources import builtin, tables
from sslcli.data.sources.archives import Archives
from sslcli.data.sources.base import ArraySource, Part, Source, Subset, take_part
from sslcli.data.sources.folders import Folder, archives_in, has_images
from sslcli.data.sources.sts import is_scored, open_scored
from sslcli.errors import DataError, UsageError

__all__ = ["ArraySource", "Part", "Source", "Subset", "open_source", "take_part"]

Progress = Callable[[int, int], None] | None


def open_source(
    spec: str,
    *,
    part: Part | None,
    root: str | Path = "data",
    download: bool = False,
    progress: Progress = None,
    white_point: int = WHITE,
    opened_for: Column | None = None,
) -> Source:
    """Open a data set.

    Args:
        spec: A built-in name, a folder of images or of STS tasks, `.tar`, shell-style pattern of
            `.tar`, table or text file.
        part: Which part to take; None takes everything. A set without parts is all training data.
        root: Folder of torchvision's data sets.
        download: Allow a built-in set to be fetched.
        progress: Called while files are indexed, with (done, total).
        white_point: The value of sixteen bits that is white.
        opened_for: The column that will be read, whose noun messages use.

    Raises:
        DataError: If it is missing, empty, unreadable or of no known form.
        UsageError: If no data is named at all.
    """
    if not spec:
        what = "nothing says which data to use: these weights came without any"
        raise UsageError(what, "data", "name a data set or a folder with `data`")
    source = _open(spec, root, download, progress, opened_for)
    source.white_point, source.opened_for = white_point, opened_for
    return take_part(source, part)


def _open(
    spec: str, root: str | Path, download: bool, progress: Progress, opened_for: Column | None
) -> Source:
    path = Path(spec).expanduser()
    if spec in builtin.NAMES:
        return builtin.open_builtin(spec, root, download)
    if _is_there(path):
        if is_scored(path):
            return open_scored(spec, path)
        if path.is_dir():
            return _open_folder(spec, path, progress)
        return _open_file(spec, path, progress, opened_for)
    if glob.has_magic(spec):
        found = sorted(map(Path, glob.glob(os.fspath(path), recursive=True)))
        if found and all(shard.suffix.lower() == ".tar" for shard in found):
            return Archives(spec, found, progress)
        what = (
            "the pattern matches files that are no .tar" if found else "no file matches the pattern"
        )
        raise DataError(what, spec, "a pattern such as 'data/train-*.tar' names tar archives")
    raise DataError("there is no such data set", spec, _nearest(spec, path))


def _open_folder(spec: str, path: Path, progress: Progress) -> Source:
    archives = archives_in(path)
    if archives and not has_images(path, progress):
        return Archives(spec, archives, progress)
    source = Folder(spec, path, progress)
    if archives and source.folders[source.folder[-1]] == "":
        what = f"the folder holds {len(archives)} archives beside {len(source)} images"
        hint = f"name the archives ('{path}/*.tar'), or move them or the images elsewhere"
        raise DataError(what, str(path), hint)
    return source


def _open_file(spec: str, path: Path, progress: Progress, opened_for: Column | None) -> Source:
    lower = path.name.lower()
    if lower.endswith(".tar"):
        return Archives(spec, [path], progress)
    if lower.endswith(tables.SUFFIXES):
        return tables.open_table(spec, path, opened_for)
    if lower.endswith((".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip")):
        hint = "make a plain .tar of it, whose members can be read in place"
        raise DataError("compressed archives cannot be read in place", spec, hint)
    hint = "give a folder, a .tar, a .csv or .tsv table, or a .txt of sentences"
    raise DataError(
        f"{path.suffix or 'a file without suffix'} is no known form of data", spec, hint
    )


def _is_there(path: Path) -> bool:
    try:
        path.stat()
    except PermissionError as error:
        raise DataError("the path may not be read", str(path), "check its rights") from error
    except OSError:
        return False
    return True


def _nearest(spec: str, path: Path) -> str:
    """Suggest the likeliest name, built in or in the deepest folder that exists."""
    if names := difflib.get_close_matches(spec, builtin.NAMES, n=1):
        return f"did you mean {names[0]}?"
    folder = next((parent for parent in path.parents if parent.is_dir()), Path())
    wanted = path.relative_to(folder).parts[0] if path.is_relative_to(folder) else path.name
    if close := difflib.get_close_matches(wanted, os.listdir(folder), n=1):
        return f"did you mean {folder / close[0]}?"
    return f"built-in sets are {', '.join(builtin.NAMES)}; anything else is a path"
