"""Changes of a config: those that arguments make, and the overrides that win over them."""

from collections.abc import Mapping, Sequence
from typing import Any

Changes = Mapping[str, Any] | Sequence[str]  # by dotted field, or as `--set` writes them


def divided(
    fields: Mapping[str, Any], overrides: Changes
) -> tuple[Mapping[str, Any], Sequence[str]]:
    """Return the changes that are values by field, and those that are texts to parse."""
    if isinstance(overrides, Mapping):
        return {**fields, **overrides}, ()
    return fields, overrides


def laid_under(fields: Mapping[str, float], overrides: Changes) -> Changes:
    """Return the overrides with the numbers of arguments before them."""
    if isinstance(overrides, Mapping):
        return {**fields, **overrides}
    return [*(f"{name}={value!r}" for name, value in fields.items()), *overrides]
