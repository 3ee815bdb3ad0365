"""Resolve presets, config files and options into one validated config, and write it as TOML."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import ValidationError

from sslcli.config.chain import catalogue, find, is_shared, load_chain
from sslcli.config.draft import Draft
from sslcli.config.explain import explain, together
from sslcli.config.older import in_todays_fields
from sslcli.config.overrides import REMOVED, Assignment, parse_set
from sslcli.config.schema import Config
from sslcli.errors import ConfigError, SslError

OPTION = "command-line option"  # the origin of values from named options
# Fields that change no weight and no metric: where files lie, how they are read, what is kept.
_LOGISTICS: dict[str, Any] = {
    "preset": True,
    "about": True,
    "adapt": True,
    "data": {"root", "download", "workers", "memory_budget_gib"},
    "train": {"log_every", "checkpoint_every", "keep", "best", "log"},
}


@dataclass(frozen=True)
class Resolved:
    """A validated config and where its values came from.

    Attributes:
        config: The config.
        sources: File or option of each field that one has set, by dotted name.
    """

    config: Config
    sources: Mapping[str, str]


def list_presets() -> list[str]:
    """Return the names of all presets, sorted."""
    return sorted(name for name in catalogue() if not is_shared(name))


def preset_file(name: str) -> Path:
    """Return the file of a preset.

    Raises:
        ConfigError: If there is no such preset.
    """
    return find(name, name)


def resolve(
    preset: str | Path | None = None,
    config_file: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
    overrides: Sequence[str] = (),
) -> Resolved:
    """Lay preset, config file, named options and `--set` over each other, in this order.

    Args:
        preset: A preset's name, or a path ending in .toml.
        config_file: A TOML file with any part of a config; it may extend a preset.
        options: Values by dotted field; None unsets what files say.
        overrides: Assignments as `--set` takes them, such as "train.batch_size=256".

    Raises:
        ConfigError: With every fault found.
    """
    if preset is None and config_file is None:
        hint = "give `preset` method/setting or `config` FILE; `ssl presets list` shows presets"
        raise ConfigError("nothing says what to run", "preset", hint)
    draft = Draft()
    if preset is not None:
        where = f"`preset` {preset}"
        for layer in load_chain(find(str(preset), where), where):
            draft.merge(layer.table, str(layer.path), is_preset=True)
        draft.assign(Assignment(("preset",), str(preset), where))
    if config_file is not None:
        *parents, own = load_chain(Path(config_file), f"`config` {config_file}")
        for layer in parents:
            draft.merge(layer.table, str(layer.path), is_preset=True)
        draft.merge(in_todays_fields(own.table), str(own.path))
    return _finish(draft, options or {}, overrides)


def revise(config: Config, options: Mapping[str, Any], overrides: Sequence[str] = ()) -> Config:
    """Return a checkpoint's config with named options and `--set` laid over it.

    Raises:
        ConfigError: With every fault found.
    """
    draft = Draft()
    draft.merge(_plain(config), "the checkpoint", is_preset=True)
    return _finish(draft, options, overrides).config


def _finish(draft: Draft, options: Mapping[str, Any], overrides: Sequence[str]) -> Resolved:
    """Apply options and validate."""
    faults: list[SslError] = []
    assignments = [
        Assignment(tuple(field.split(".")), REMOVED if value is None else value, OPTION)
        for field, value in options.items()
    ]
    for text in overrides:
        try:
            assignments.append(parse_set(text))
        except ConfigError as fault:
            faults.append(fault)
    for assignment in assignments:
        try:
            draft.assign(assignment)
        except ConfigError as fault:
            faults.append(fault)
    try:
        config = Config.model_validate(_frozen(draft.tree), strict=True)
    except ValidationError as error:
        faults += explain(error, draft.tree, draft.origin_of)
    except ConfigError as error:
        faults += error.faults()
    if faults:
        raise together(faults)
    return Resolved(config, draft.sources())


def _frozen(node: Any) -> Any:
    """Return lists as tuples, which strict validation requires."""
    if isinstance(node, dict):
        return {key: _frozen(value) for key, value in node.items()}
    return tuple(map(_frozen, node)) if isinstance(node, list) else node


def _plain(config: Config) -> dict[str, Any]:
    return config.model_dump(mode="json", exclude_none=True)


def to_toml(config: Config) -> str:
    """Return a config as TOML from which `resolve(config_file=...)` makes the same config."""
    text = tomli_w.dumps(_plain(config))
    return re.sub(r"\[\n((?: {4}.*,\n)+)\]", _on_one_line, text)


def _on_one_line(array: re.Match[str]) -> str:
    """Return an array that tomli-w wrote with an item a line, each ending in a comma."""
    return f"[{', '.join(line.strip()[:-1] for line in array[1].splitlines())}]"


def decisive(config: Config) -> dict[str, Any]:
    """Return the fields that decide weights and metrics."""
    return config.model_dump(mode="json", exclude=_LOGISTICS)


def config_hash(config: Config) -> str:
    """Return the SHA-256 of everything that decides weights and metrics, as 64 hex digits."""
    canonical = json.dumps(decisive(config), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
