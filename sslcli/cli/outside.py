"""Open what `--ood` names: built-in far sets, or any data, each with a name for the metrics."""

import re
from collections.abc import Sequence
from itertools import chain, count
from pathlib import Path

from sslcli.cli.evaluation import Evaluation
from sslcli.data.sources.base import PART_CODES
from sslcli.data.sources.builtin import NAMES
from sslcli.data.sources.far import KINDS, FarSource
from sslcli.data.sources.open import Source, open_source, take_part
from sslcli.listener import warn_of


def open_outside(evaluation: Evaluation, specs: Sequence[str]) -> dict[str, Source]:
    """Return the outside sets by their names; all built-in far sets when none is asked for.

    Of data with a test part that part is taken, else all of it: AUPR depends on the ratio of the
    sets' sizes, so none is thinned out. Images are resized, antialiased and cut as the inside ones
    are, and greyscale ones become RGB; sets that were made small in another way can be told by
    the traces of that alone.

    Raises:
        DataError: If one is missing or unreadable.
    """
    show = evaluation.show
    if not specs:
        show.note(f"outside: all built-in far sets: {', '.join(KINDS)}")
    specs = list(dict.fromkeys(specs)) or KINDS
    outside = {
        name: _open(evaluation, spec) for name, spec in zip(names(specs), specs, strict=True)
    }
    for name, source in outside.items():
        if name not in KINDS:
            show.note(f"outside: {name}: {source.name}, {len(source):,} images")
    return outside


def names(specs: Sequence[str]) -> list[str]:
    """Return a short name for each, made of letters, digits and -_./ so that --require takes it.

    A path gives its last part without suffix, and all of it where that is not unique. What is then
    still called like another, in the name of a figure too, gets a number.
    """
    short = [spec if spec in (*KINDS, *NAMES) else _plain(Path(spec).stem) for spec in specs]
    wanted = [
        name if short.count(name) == 1 else _plain(spec)
        for name, spec in zip(short, specs, strict=True)
    ]
    unique: dict[str, str] = {}  # by the name of the figure, in which a slash is a dash
    for name in wanted:
        numbered = (f"{name}-{number}" for number in count(2))
        free = (each for each in chain([name], numbered) if _file_name(each) not in unique)
        chosen = next(free)
        unique[_file_name(chosen)] = chosen
    return list(unique.values())


def _file_name(name: str) -> str:
    return name.replace("/", "-")


def _plain(text: str) -> str:
    return re.sub(r"[^\w./-]+", "-", text).strip("-/.") or "data"


def _open(evaluation: Evaluation, spec: str) -> Source:
    data, show = evaluation.config.data, evaluation.show
    if spec in KINDS:
        return FarSource(spec, evaluation.splits.test, data, evaluation.config.seed)
    whole = open_source(
        spec,
        part=None,
        root=data.root,
        download=data.download,
        progress=show.bar("reading the data"),
        white_point=data.white_point,
    )
    warn_of(whole.oddities, show)
    has_test = whole.parts is not None and (whole.parts == PART_CODES["test"]).any()
    return take_part(whole, "test") if has_test else whole
