"""Find the data of a run from another folder, by the absolute paths that its checkpoint keeps."""

import glob
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from sslcli.config.data import DataConfig
from sslcli.data.sources.builtin import NAMES, OFFLINE
from sslcli.errors import DataError

FIELDS = ("source", "test", "root")  # of DataConfig: what names a place


def absolute_paths(data: DataConfig) -> dict[str, str]:
    """Return where the data lies, by field; built-in sets have no place but their root."""
    specs = {"source": data.source, "test": data.test}
    places = {name: spec for name, spec in specs.items() if spec and spec not in NAMES}
    if set(specs.values()) & (set(NAMES) - set(OFFLINE)):
        places["root"] = data.root
    return {name: _absolute(spec) for name, spec in places.items()}


def located(
    data: DataConfig, kept: Mapping[str, Any], given: Collection[str]
) -> tuple[DataConfig, list[str]]:
    """Let relative paths of a run mean what they meant where it was trained.

    Args:
        data: From the run's config.
        kept: What `absolute_paths` said when it was trained.
        given: Fields that the user has named now, which mean what they say.

    Returns:
        The data with absolute paths where they now mean another place, and remarks for the user.

    Raises:
        DataError: If the data is neither where it was nor where the path leads now.
    """
    changed, remarks = dict[str, str](), list[str]()
    for field in FIELDS:
        spec, before = getattr(data, field), kept.get(field)
        if field in given or not isinstance(before, str) or before == (here := _absolute(spec)):
            continue
        if _is_there(before):
            changed[field] = before
            remarks.append(f"data.{field} is {before}, as in training")
        elif _is_there(here):
            remarks.append(f"data.{field} is {here}; in training it was {before}, which has gone")
        else:
            hint = "move it back, or name it with `data` and `test`"
            where = f"{here}; in training it was {before}"
            raise DataError(f"the data of this run is not there: {spec}", where, hint)
    return data.model_copy(update=changed), remarks


def given_fields(options: Collection[str], overrides: Collection[str]) -> set[str]:
    """Return which of `FIELDS` named options (dotted) or `--set` texts give."""
    named = {*options, *(text.partition("=")[0].strip() for text in overrides)}
    return {field for field in FIELDS if f"data.{field}" in named}


def _absolute(spec: str) -> str:
    return str(Path(spec).expanduser().absolute())


def _is_there(spec: str) -> bool:
    try:
        return Path(spec).exists() or bool(glob.has_magic(spec) and glob.glob(spec, recursive=True))
    except OSError:
        return False
