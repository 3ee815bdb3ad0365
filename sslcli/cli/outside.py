"""Open what `--ood` names: built-in far sets, or any data, each with a name for the metrics."""

import re
from collections.abc import Sequence
from pathlib import Path

from sslcli.cli.evaluation import Evaluation
from sslcli.cli.watch import Bar
from sslcli.data.base import PART_CODES
from sslcli.data.builtin import NAMES
from sslcli.data.far import KINDS, FarSource
from sslcli.data.sources import Source, open_source, take_part


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
        show.talk(f"outside: all built-in far sets: {', '.join(KINDS)}")
    specs = list(dict.fromkeys(specs)) or KINDS
    outside = {
        name: _open(evaluation, spec) for name, spec in zip(names(specs), specs, strict=True)
    }
    for name, source in outside.items():
        if name not in KINDS:
            show.talk(f"outside: {name}: {source.name}, {len(source):,} images")
    return outside


def names(specs: Sequence[str]) -> list[str]:
    """Return a short name for each, made of letters, digits and -_./ so that --require takes it.

    A path gives its last part without suffix, and all of it where that is not unique.
    """
    short = [spec if spec in (*KINDS, *NAMES) else _plain(Path(spec).stem) for spec in specs]
    return [
        name if short.count(name) == 1 else _plain(spec)
        for name, spec in zip(short, specs, strict=True)
    ]


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
        progress=Bar(show, "reading the data"),
    )
    has_test = whole.parts is not None and (whole.parts == PART_CODES["test"]).any()
    return take_part(whole, "test") if has_test else whole
