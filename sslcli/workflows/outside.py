"""The outside data of `ood_detect`: built-in far sets or any data, each with a short name."""

import re
from collections.abc import Sequence
from itertools import chain, count
from pathlib import Path

from sslcli.data.sources.base import PART_CODES, noun
from sslcli.data.sources.builtin import NAMES
from sslcli.data.sources.far import KINDS, FarSource
from sslcli.data.sources.open import Source, take_part
from sslcli.workflows.run import Run


def open_outside(run: Run, specs: Sequence[str]) -> dict[str, Source]:
    """Return the outside sets by their names; all built-in far sets when none is asked for.

    Data with a test part gives that part, other data all its images. No set is subsampled, because
    AUPR depends on the ratio of the sets' sizes. Images are resized, antialiased and cropped as the
    inside images are, and greyscale ones become RGB. A set whose images were made small in another
    way may be told from the inside by the traces of that resizing alone.

    Raises:
        DataError: If one is missing or unreadable.
    """
    if not specs:
        run.listener.note(f"outside: all built-in far sets: {', '.join(KINDS)}")
    specs = _distinct(specs)
    outside = {name: _open(run, spec) for name, spec in zip(names(specs), specs, strict=True)}
    for name, source in outside.items():
        if name not in KINDS:
            run.listener.note(f"outside: {name}: {source.name}, {len(source):,} {noun(source)}")
    return outside


def outside_names(specs: Sequence[str]) -> list[str]:
    """Return the names that `open_outside` gives the sets, without opening any."""
    return names(_distinct(specs))


def _distinct(specs: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(specs)) or list(KINDS)


def names(specs: Sequence[str]) -> list[str]:
    """Return a short name for each set, made of letters, digits and -_./ only.

    The name of a path is its last part without the suffix, or the whole path if several sets share
    that part. Names that are still equal, or would name the same file, get a number.
    """
    short = [spec if spec in (*KINDS, *NAMES) else _plain(Path(spec).stem) for spec in specs]
    wanted = [
        name if short.count(name) == 1 else _plain(spec)
        for name, spec in zip(short, specs, strict=True)
    ]
    unique: dict[str, str] = {}  # by the name as part of a file's
    for name in wanted:
        numbered = (f"{name}-{number}" for number in count(2))
        free = (each for each in chain([name], numbered) if file_name(each) not in unique)
        chosen = next(free)
        unique[file_name(chosen)] = chosen
    return list(unique.values())


def file_name(name: str) -> str:
    """Return a set's name as part of the name of a file."""
    return name.replace("/", "-")


def _plain(text: str) -> str:
    return re.sub(r"[^\w./-]+", "-", text).strip("-/.") or "data"


def _open(run: Run, spec: str) -> Source:
    if spec in KINDS:
        return FarSource(spec, run.splits.test, run.pixels, run.config.seed)
    whole = run.open(spec)
    has_test = whole.parts is not None and (whole.parts == PART_CODES["test"]).any()
    return take_part(whole, "test") if has_test else whole
