"""Changes of a config: those that arguments make, and the overrides that win over them."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from sslcli.config.schema import Config
from sslcli.errors import UsageError

Tower = Literal["image", "text"]
Changes = Mapping[str, Any] | Sequence[str]  # by dotted field, or as `--set` writes them
FEW = 64  # images that are decoded sooner than worker processes start


def divided(
    fields: Mapping[str, Any], overrides: Changes
) -> tuple[Mapping[str, Any], Sequence[str]]:
    """Return the changes that are values by field, and those that are texts to parse."""
    if isinstance(overrides, Mapping):
        return {**fields, **overrides}, ()
    return fields, overrides


def read_out(layers: str | None, tower: str | None) -> str | None:
    """Return the name of what is read out of a network; None for the config's.

    Raises:
        UsageError: If both are given.
    """
    if layers and tower:
        raise UsageError("a tower is read at its end", "layers", "leave out one of them")
    return f"{tower}-tower" if tower else layers


def laid_under(fields: Mapping[str, Any], overrides: Changes) -> Changes:
    """Return the overrides with the values of arguments before them; None is not given.

    Args:
        fields: Numbers, texts, or lists of them, by dotted field.
        overrides: What wins over them.
    """
    fields = {name: value for name, value in fields.items() if value is not None}
    if isinstance(overrides, Mapping):
        return {**fields, **overrides}
    return [*(f"{name}={value!r}" for name, value in fields.items()), *overrides]


def without_keeping(config: Config, count: int, **fields: Any) -> Config:
    """Return a config by which `count` images are decoded as needed, and none is kept.

    Args:
        config: The config of the run.
        count: How many images are wanted.
        fields: Further fields of `data`.
    """
    changes = fields | {"max_packed_images": 0} | ({"workers": 0} if count <= FEW else {})
    return config.model_copy(update={"data": config.data.model_copy(update=changes)})
