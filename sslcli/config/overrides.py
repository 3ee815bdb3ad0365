"""Read `--set key=value`."""

import re
import tomllib
from dataclasses import dataclass
from typing import Any

from sslcli.errors import ConfigError

# The value of `--set key=`, which removes the field, so that its default holds.
REMOVED = object()

# TOML requires a digit on either side of the point; people leave one out.
_SHORT_FLOAT = re.compile(r"[+-]?(\d+\.|\.\d+)([eE][+-]?\d+)?")


@dataclass(frozen=True)
class Assignment:
    """A value for one field.

    Attributes:
        path: Names, and list indices as written, from the root.
        value: Any TOML value, or REMOVED.
        origin: The option, for error messages.
    """

    path: tuple[str, ...]
    value: Any
    origin: str


def parse_set(text: str) -> Assignment:
    """Parse `views.0.size=24`.

    The value is TOML. Anything else is taken as text, so that `train.precision=bf16` needs no
    quotes. An empty value removes the field.

    Raises:
        ConfigError: If there is no key, no equals sign, or a broken list, table or string.
    """
    key, equals, value = text.partition("=")
    path = tuple(part.strip() for part in key.split("."))
    if not equals or not all(path):
        hint = "write `overrides` section.field=value, such as `overrides` train.batch_size=256"
        raise ConfigError("this is no key=value", f"`overrides` {text}", hint)
    return Assignment(path, _parse_value(value.strip(), text), f"`overrides` {text}")


def _parse_value(value: str, text: str) -> Any:
    if not value:
        return REMOVED
    if _SHORT_FLOAT.fullmatch(value):
        return float(value)
    try:
        table = tomllib.loads(f"value = {value}")
    except (ValueError, RecursionError) as error:
        if value[0] in "[{\"'":
            hint = "quote it for the shell, such as `overrides` 'data.mean=[0.5, 0.5, 0.5]'"
            raise ConfigError(
                f"the value is no TOML: {error}", f"`overrides` {text}", hint
            ) from error
        return value
    return table["value"] if len(table) == 1 else value
