"""Lay tables over each other, and remember which file or option each value came from."""

from collections.abc import Iterable, Set
from typing import Any

from sslcli.config.encoder import EncoderConfig
from sslcli.config.families import settings_of
from sslcli.config.fields import FieldPath, Model, dotted, models_at, variants
from sslcli.config.methods.registry import is_custom
from sslcli.config.overrides import REMOVED, Assignment
from sslcli.errors import ConfigError

_DEPTH = 16
_VALUES = 5_000  # a preset has about a hundred


class Draft:
    """A config on its way to validation.

    Tables merge; anything else, lists included, is replaced as a whole. When a layer gives a
    section another `name`, such as another optimiser or an encoder of another family, some old
    fields are unknown to the new one. Such a field is dropped if a preset set it, or if the file
    that set it also chose the old name. Any other was set on purpose: it stays, and validation
    reports it.

    Attributes:
        tree: The values so far.
    """

    def __init__(self) -> None:
        self.tree: dict[str, Any] = {}
        self._origins: dict[FieldPath, str] = {}
        self._presets: set[str] = set()

    def merge(self, table: dict[str, Any], origin: str, *, is_preset: bool = False) -> None:
        """Lay a file's table over what there is."""
        _check(table, origin)
        if is_preset:
            self._presets.add(origin)
        self._merge(self.tree, table, origin, ())

    def assign(self, assignment: Assignment) -> None:
        """Set or remove one field.

        Raises:
            ConfigError: If the path leads through something that has no fields, or out of a list.
        """
        value, origin = assignment.value, assignment.origin
        _check(value, origin, len(assignment.path))
        node, path = self._descend(assignment)
        key = path[-1]
        if value is not REMOVED:
            self._put(node, value, origin, path)
        elif isinstance(node, list):
            raise ConfigError(f"{dotted(path[:-1])} is a list; set it as a whole", origin)
        else:
            node.pop(key, None)
            self._forget(path)

    def origin_of(self, path: FieldPath) -> str:
        """Return the file or option that set a field, or the last one that changed its section."""
        while path and path not in self._origins:
            path = path[:-1]
        return self._origins.get(path, "")

    def sources(self) -> dict[str, str]:
        """Return the file or option that set each field, by dotted name."""
        return {dotted(path): self.origin_of(path) for path in _leaves(self.tree)}

    def _merge(self, node: dict, table: dict[str, Any], origin: str, at: FieldPath) -> None:
        self._origins[at] = origin
        if "name" in table:
            self._shed(node, table["name"], set(table), at)
        for key, value in table.items():
            if isinstance(value, dict) and isinstance(node.get(key), dict):
                self._merge(node[key], value, origin, (*at, key))
            else:
                self._put(node, value, origin, (*at, key))

    def _put(self, node: Any, value: Any, origin: str, path: FieldPath) -> None:
        """Replace whatever stands at `path`, whose container is `node`."""
        key = path[-1]
        if key == "name":
            self._shed(node, value, {"name"}, path[:-1])
        if isinstance(node, list) or key in node:
            self._forget(path)
        self._origins[path] = origin
        if isinstance(value, dict):
            node[key] = {}
            self._merge(node[key], value, origin, path)
        else:
            node[key] = value

    def _shed(self, node: dict, name: Any, kept: set[str], at: FieldPath) -> None:
        """Drop the fields that the variant called `name` does not have."""
        known = _fields_of(name, models_at(at)) if isinstance(name, str) else None
        if known is None or node.get("name") in (None, name):
            return
        chooser = self.origin_of((*at, "name"))
        for key in node.keys() - known - kept:
            origin = self.origin_of((*at, key))
            if origin in self._presets or origin == chooser:
                del node[key]
                self._forget((*at, key))

    def _forget(self, path: FieldPath) -> None:
        for known in [known for known in self._origins if known[: len(path)] == path]:
            del self._origins[known]

    def _descend(self, assignment: Assignment) -> tuple[Any, FieldPath]:
        """Return the container of an assignment's last key, created if missing, and the path."""
        node: Any = self.tree
        path: FieldPath = ()
        for depth, part in enumerate(assignment.path):
            path = (*path, _key(node, part, path, assignment.origin))
            if depth + 1 == len(assignment.path):
                break
            if isinstance(node, dict) and path[-1] not in node:
                self._put(node, {}, assignment.origin, path)
            node = node[path[-1]]
        return node, path


def _fields_of(name: str, models: list[Model]) -> Set[str] | None:
    """Return the fields of the section that `name` chooses; None if it chooses none that is known.

    Args:
        name: Such as that of an optimiser, of a method, or of an encoder.
        models: The sections that may stand there.
    """
    if models == [EncoderConfig]:
        return settings_of(name)
    if is_custom(name):
        return frozenset()
    variant = variants(models).get(name)
    return variant.model_fields.keys() if variant else None


def _key(node: Any, part: str, at: FieldPath, origin: str) -> str | int:
    """Return `part` as a key of `node`."""
    if isinstance(node, dict):
        return part
    if not isinstance(node, list):
        raise ConfigError(f"{dotted(at)} is no table, so it has no {part}", origin)
    if part.isdecimal() and int(part) < len(node):
        return int(part)
    raise ConfigError(f"{dotted(at)} has no {part}", origin, f"its items are 0 to {len(node) - 1}")


def _leaves(node: Any, at: FieldPath = ()) -> list[FieldPath]:
    items = node.items() if isinstance(node, dict) else enumerate(node)
    leaves: list[FieldPath] = []
    for key, value in items:
        nested = isinstance(value, dict) or (isinstance(value, list) and _has_table(value))
        leaves += _leaves(value, (*at, key)) if nested else [(*at, key)]
    return leaves


def _has_table(values: list) -> bool:
    return any(isinstance(value, dict) for value in values)


def _check(value: Any, origin: str, depth: int = 0) -> None:
    """Refuse values too large to walk or print: deep nesting, many items, huge numbers or texts."""
    level = [value]
    count = 0
    while level:
        count += len(level)
        if count > _VALUES:
            raise ConfigError(f"there are more than {_VALUES:,} values", origin)
        if depth > _DEPTH:
            raise ConfigError(f"tables are nested more than {_DEPTH} deep", origin)
        if any(isinstance(node, int) and abs(node) >= 2**63 for node in level):
            raise ConfigError("an integer does not fit in 64 bits", origin)
        depth += 1
        level = [inner for node in level for inner in _inside(node)]


def _inside(node: Any) -> Iterable[Any]:
    if isinstance(node, dict):
        return node.values()
    return node if isinstance(node, list) else ()
