"""Read the schema: list its sections and fields, and say what each field may hold."""

from collections.abc import Iterable
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from sslcli.config.duration import Duration
from sslcli.config.schema import Config

FieldPath = tuple[str | int, ...]
Model = type[BaseModel]

_NOUNS = {
    bool: "true or false",
    int: "an integer",
    float: "a number",
    str: "text",
    Duration: 'a duration such as "10 epochs", "500 steps" or "5%"',
}
_BOUNDS = {"ge": "of at least", "gt": "above", "le": "of at most", "lt": "below"}


class Place(NamedTuple):
    """A field as the user knows it.

    Attributes:
        path: Names and list indices, without pydantic's tags.
        models: The sections that the last name may belong to.
        field: The field itself; None when the schema has no such name.
    """

    path: FieldPath
    models: list[Model]
    field: FieldInfo | None


def dotted(path: FieldPath) -> str:
    """Return a path as `--set` spells it."""
    return ".".join(map(str, path))


def models_in(annotation: Any) -> list[Model]:
    """Return the sections inside an annotation: several where a `name` chooses among them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in get_args(annotation) for found in models_in(part)]


def variants(models: list[Model]) -> dict[str, Model]:
    """Return sections by the name that chooses them; empty where there is no choice."""
    if len(models) < 2:
        return {}
    names = ((get_args(model.model_fields["name"].annotation), model) for model in models)
    return {name: model for choices, model in names for name in choices}


def models_at(path: FieldPath) -> list[Model]:
    """Return the sections that may stand at a path."""
    models: list[Model] = [Config]
    for part in path:
        if isinstance(part, str):
            fields = [m.model_fields[part] for m in models if part in m.model_fields]
            models = list(dict.fromkeys(m for f in fields for m in models_in(f.annotation)))
    return models


def locate(location: FieldPath) -> Place:
    """Translate a pydantic location, which also names variants and branches of unions."""
    path: list[str | int] = []
    field: FieldInfo | None = None
    owners: list[Model] = []
    models: list[Model] = [Config]
    for part in location:
        if chosen := variants(models).get(str(part)):
            models = [chosen]
        elif isinstance(part, int) and models:
            path.append(part)
        elif not models:
            break
        else:
            path.append(part)
            field = next((m.model_fields[part] for m in models if part in m.model_fields), None)
            owners, models = models, models_in(field.annotation) if field else []
    return Place(tuple(path), owners, field)


def describe(annotation: Any, constraints: Iterable[Any] = ()) -> str:
    """Say in plain words what a field may hold."""
    arguments = get_args(annotation)
    origin = get_origin(annotation)
    if origin is Annotated:
        inner = (getattr(extra, "metadata", [extra]) for extra in arguments[1:])
        return describe(arguments[0], [bound for bounds in inner for bound in bounds])
    if origin is Literal:
        names = ", ".join(map(str, arguments))
        return f"one of {names}" if len(arguments) > 1 else f'"{names}"'
    if models_in(annotation):
        return "a list of tables" if origin is tuple else "a table"
    if origin in (Union, UnionType):
        return ", or ".join(describe(part) for part in arguments if part is not NoneType)
    if origin is tuple:
        each = describe(arguments[0])
        return (
            f"a list, each {each}" if ... in arguments else f"{len(arguments)} values, each {each}"
        )
    return f"{_NOUNS.get(annotation, 'a value')}{_bounds(constraints)}"


def _bounds(constraints: Iterable[Any]) -> str:
    found = {
        key: getattr(bound, key) for bound in constraints for key in _BOUNDS if hasattr(bound, key)
    }
    if {"ge", "le"} <= found.keys():
        return f" from {found['ge']} to {found['le']}"
    return " and".join(f" {_BOUNDS[key]} {value}" for key, value in found.items())
