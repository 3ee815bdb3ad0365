"""The config of a checkpoint as it is used here: changed, its data found, its code allowed."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from sslcli.config.methods.registry import is_custom
from sslcli.config.presets import revise
from sslcli.config.schema import Config
from sslcli.data.sources.places import given_fields, located
from sslcli.engine.checkpoint import Checkpoint
from sslcli.errors import UsageError
from sslcli.listener import Listener
from sslcli.methods.custom import load_class, name_code


def revised(
    checkpoint: Checkpoint, fields: Mapping[str, Any], texts: Sequence[str], listener: Listener
) -> Config:
    """Return a checkpoint's config with changes laid over it, and its data found from here."""
    config = revise(checkpoint.config, fields, texts)
    data, remarks = located(config.data, checkpoint.paths, given_fields(fields, texts))
    for remark in remarks:
        listener.note(remark)
    return config.model_copy(update={"data": data})


def name_code_of(checkpoint: Checkpoint, method: str) -> None:
    """Run the file of a checkpoint's custom method, because the caller names it.

    What it brings beside the method, such as a family of encoders, is known from then on.

    Raises:
        UsageError: If the checkpoint's method is no such class.
        ConfigError: If the file cannot be read, or fails.
    """
    name = checkpoint.config.method.name
    if not is_custom(name) or method.rpartition(":")[2] != name.rpartition(":")[2]:
        hint = "name the file and the class that this checkpoint was trained with"
        raise UsageError(f"the checkpoint's method is {name}, not {method}", "method", hint)
    name_code(method)
    load_class(method)


def heading(
    checkpoint: Checkpoint, config: Config, device: torch.device, precision: str
) -> tuple[str, ...]:
    """Return what an opened checkpoint is told with: which one it is, and where it runs."""
    return (
        f"checkpoint {checkpoint.path}, step {checkpoint.facts.get('step')}",
        f"device {device}, precision {precision}, seed {config.seed}",
    )
