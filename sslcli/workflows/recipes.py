"""Recipes of trainings with labels: where they come from, and their changes."""

from pathlib import Path
from typing import Literal

from sslcli.config.evaluation import FinetuningConfig, ProtocolConfig
from sslcli.config.families import family_of
from sslcli.config.presets import resolve
from sslcli.config.schema import Config
from sslcli.errors import UsageError
from sslcli.workflows.changes import Changes, laid_under
from sslcli.workflows.run import Run, load

Kind = Literal["linear-probe", "finetune"]
# What the section of the method takes from a recipe.
OF_METHOD = {"mixup", "cutmix", "layer_decay", "classifier_rate", "averaging"}
SECTIONS: dict[Kind, str] = {
    "linear-probe": "evaluation.linear",
    "finetune": "evaluation.finetune",
}


def with_recipe(run: str | Path | Run, preset: str | None, method: str | None) -> str | Path | Run:
    """Return a checkpoint with the recipe of a preset in place of its own, if one is named.

    Raises:
        SslError: If the preset cannot be read or has no recipe.
    """
    if preset is None:
        return run
    recipe = resolve(preset).config.evaluation.finetune
    if recipe is None:
        raise UsageError("the preset has no recipe", "evaluation.finetune", "name another preset")
    fields = {"evaluation.finetune": recipe.model_dump(mode="json", exclude_none=True)}
    return load(run, overrides=fields, method=method)


def with_labels(overrides: Changes, share: float | None, file: str | Path | None) -> Changes:
    """Return changes of the config with the labels to use before them, if they are given.

    Raises:
        UsageError: If both a share and a list are.
    """
    if share is not None and file is not None:
        raise UsageError("labels are listed, or a share is drawn", "label_list", "leave out one")
    fraction = 1.0 if file is not None else share
    fields = {
        "evaluation.finetune.label_fraction": None if fraction is None else float(fraction),
        "evaluation.finetune.label_list": None if file is None else str(file),
    }
    return laid_under(fields, overrides)


def protocol_of(config: Config, kind: Kind) -> ProtocolConfig:
    """Return a preset's recipe for training with labels.

    Raises:
        UsageError: If the preset has none, or the encoder reads no images and the recipe is of
            views of them.
    """
    if kind == "linear-probe" and family_of(config.encoder).reads == "text":
        what = f"the papers' probe sees augmented images, and {config.encoder.name} reads sentences"
        raise UsageError(what, "protocol", "use features, which asks for no views")
    section = SECTIONS[kind]
    protocol: ProtocolConfig | None = getattr(config.evaluation, section.rpartition(".")[2])
    if protocol is None:
        hint = "use `protocol` features, or train from a preset that has one"
        raise UsageError("the checkpoint's preset has no recipe", section, hint)
    return protocol


def extras(protocol: FinetuningConfig) -> str:
    """Say what a recipe has besides length, batch and optimiser."""
    listed_in = f"labels of {Path(protocol.label_list).name}" if protocol.label_list else ""
    mean = f"moving average of the weights ({protocol.averaging:g})" if protocol.averaging else ""
    decay = f"layer decay {protocol.layer_decay:g}" if protocol.layer_decay < 1 else ""
    mixed = " and ".join(name for name in ("mixup", "cutmix") if getattr(protocol, name))
    return "".join(f", {part}" for part in (listed_in, decay, mixed, mean) if part)
