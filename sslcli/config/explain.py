"""Turn pydantic's findings into faults that say what, where and what to do."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError

from sslcli.config.fields import (
    FieldPath,
    Place,
    describe,
    dotted,
    locate,
    models_at,
    models_in,
    variants,
)
from sslcli.config.schema import Config
from sslcli.errors import ConfigError, SslError

OriginOf = Callable[[FieldPath], str]
_SHOWN = 60
_FAULTS = 50  # more than a person reads at once


def together(faults: Sequence[SslError]) -> ConfigError:
    """Join `faults` into one error."""
    first, *others = faults
    return ConfigError(first.what, first.where, first.hint, others=others)


def nearest(name: str, valid: Iterable[str], count: int = 1) -> list[str]:
    """Return the valid names most like `name`, if any are."""
    lowered = {choice.lower(): choice for choice in valid}
    return [lowered[match] for match in get_close_matches(name.lower(), lowered, n=count)]


def explain(error: ValidationError, tree: dict[str, Any], origin_of: OriginOf) -> list[SslError]:
    """Return a fault for every field that is wrong, up to some fifty.

    Args:
        error: What pydantic found.
        tree: What was validated, for the values.
        origin_of: Returns the file or option that a path came from.
    """
    faults: dict[FieldPath, SslError] = {}
    found = error.errors(include_url=False)[: 2 * _FAULTS]
    for item in found:
        place = locate(item["loc"])
        if item["type"].startswith("union_tag"):
            place = _name_of(place)
        if place.path in faults or (item["type"] == "too_short" and _has_deeper(item, found)):
            continue
        value = _value(place.path, tree)
        what, hint = _words(item, place, value)
        # A missing field is the fault of the file or option that chose its variant.
        culprit = (*place.path[:-1], "name") if value is None else place.path
        where = _where(origin_of(culprit), dotted(place.path))
        faults[place.path] = ConfigError(what, where, hint)
    return list(faults.values())[:_FAULTS]


def _has_deeper(item: Any, found: Iterable[Any]) -> bool:
    """Say whether a fault lies inside the list: pydantic then calls the list too short as well."""
    depth = len(item["loc"])
    return any(len(o["loc"]) > depth and o["loc"][:depth] == item["loc"] for o in found)


def _name_of(place: Place) -> Place:
    """Return the place of the `name` that should have chosen among variants."""
    models = models_in(place.field.annotation) if place.field else []
    return Place((*place.path, "name"), models, None)


def _where(origin: str, field: str) -> str:
    if origin.startswith("`overrides`") or not field:
        return origin
    return f"{origin}, field {field}" if origin else f"field {field}"


def _words(item: Any, place: Place, value: Any) -> tuple[str, str]:
    """Return what is wrong at a place, and a hint."""
    name, kind = dotted(place.path), item["type"]
    if kind == "extra_forbidden":
        return f"there is no field {name}", _unknown(place)
    if kind == "value_error":
        return f"{name}: {item['ctx']['error']}".removeprefix(": "), ""
    if kind.startswith("union_tag"):
        expected = f"one of {', '.join(variants(place.models))}"
    elif place.field:
        expected = describe(place.field.annotation, place.field.metadata)
    else:
        expected = "a table"
    if value is None:
        return f"{name} is missing", f"give it {expected}"
    words = expected.removeprefix("one of ").split(", ")
    close = nearest(value, words) if isinstance(value, str) else []
    hint = f"did you mean {close[0]}?" if close else ""
    return f"{name} must be {expected}, not {_shown(value)}", hint


def _shown(value: Any) -> str:
    """Return a value about as TOML spells it, cut when long."""
    if isinstance(value, float):
        return str(value)
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _unknown(place: Place) -> str:
    """Return a hint for a name that its section does not have."""
    *above, name = place.path
    fields = list(place.models[0].model_fields)
    siblings = variants(models_at(tuple(above)))
    if owners := [tag for tag, model in siblings.items() if name in model.model_fields]:
        return f"it belongs to {dotted((*above, 'name'))} {' or '.join(owners)}"
    if close := nearest(str(name), fields):
        return f"did you mean {dotted((*above, close[0]))}?"
    every = dict.fromkeys(_every_field(Config))
    same = [path for path in every if path.split(".")[-1] == name]
    alike = same or [path for path in every if name in path.split(".")[-1].split("_")]
    if alike:
        return f"did you mean {' or '.join(alike[:3])}?"
    return f"there are: {', '.join(fields)}"


def _every_field(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield the dotted name of every field, each section's own before those inside it."""
    for name in model.model_fields:
        yield f"{prefix}{name}"
    for name, field in model.model_fields.items():
        for inner in models_in(field.annotation):
            yield from _every_field(inner, f"{prefix}{name}.")


def _value(path: FieldPath, tree: Any) -> Any:
    """Return what stands at a path; None when nothing does."""
    for part in path:
        if isinstance(tree, dict):
            tree = tree.get(part)
        elif isinstance(tree, list) and isinstance(part, int) and part < len(tree):
            tree = tree[part]
        else:
            return None
    return tree
