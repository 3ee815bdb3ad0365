"""Complete a preset by the images it is used on: how long, in which batches, with which views."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sslcli.config.adapting import AdaptConfig
from sslcli.config.chain import catalogue
from sslcli.config.presets import Resolved, revise
from sslcli.config.schema import Config
from sslcli.listener import Listener

if TYPE_CHECKING:
    from sslcli.data.sources.looks import Look

_LEAST_BATCH = 16
Changes = dict[str, Any]


def adapted(chosen: Resolved, listener: Listener) -> Resolved:
    """Return a config whose preset's numbers suit the data, as its `adapt` section says.

    Args:
        chosen: The config, and where its values came from: those that no preset set stay.
        listener: Told what was changed and why.

    Raises:
        DataError: If the data cannot be looked at.
    """
    config, rules = chosen.config, chosen.config.adapt
    if rules is None:
        return chosen
    from sslcli.data.sources.looks import look_at  # noqa: PLC0415  numpy and Pillow

    look = look_at(config.data.source, config.data.root)
    changes: Changes = {}
    if config.data.seeds is None:  # or the config says how many rows there are, whatever the data
        changes |= _batch(config, rules, look) | _duration(config, rules, look)
    if rules.grey and look.is_grey:
        changes |= _colourless(config)
    changes = {
        field: value for field, value in changes.items() if not _is_given(field, chosen.sources)
    }
    if changes:
        listener.note(_told(changes, look))
    return replace(chosen, config=revise(config, {**changes, "adapt": None}))


def _is_given(field: str, sources: Mapping[str, str]) -> bool:
    """Tell whether a person set a field: by an option, or in a file that asks for no adapting."""
    origin = sources.get(field, "")
    presets = {str(path) for path in catalogue().values()}
    asks = {where for name, where in sources.items() if name.startswith("adapt.")}
    return bool(origin) and origin not in presets | asks


def _batch(config: Config, rules: AdaptConfig, look: "Look") -> Changes:
    size = config.train.batch_size
    while (
        rules.least_batches
        and look.images < size * rules.least_batches
        and size // 2 >= _LEAST_BATCH
        and size % 2 == 0
    ):
        size //= 2
    return {"train.batch_size": size} if size != config.train.batch_size else {}


def _duration(config: Config, rules: AdaptConfig, look: "Look") -> Changes:
    duration = config.train.duration
    if rules.images is None or duration.unit != "epoch":
        return {}
    least, most = rules.least_epochs or duration.amount, rules.most_epochs or duration.amount
    epochs = min(max(duration.amount * rules.images / look.images, least), most)
    if epochs == duration.amount:
        return {}
    least_steps = f", at least {duration.least} steps" if duration.least else ""
    return {"train.duration": f"{max(1, round(epochs))} epochs{least_steps}"}


def _colourless(config: Config) -> Changes:
    """Return the changes that leave colour out of the views."""
    changes: Changes = {}
    for index, view in enumerate(config.views):
        if view.jitter:
            changes[f"views.{index}.jitter.saturation"] = 0.0
            changes[f"views.{index}.jitter.hue"] = 0.0
        if view.grayscale:
            changes[f"views.{index}.grayscale"] = 0.0
    return changes


def _told(changes: Changes, look: "Look") -> str:
    """Say what was changed and why, in one line."""
    parts = []
    if "train.duration" in changes:
        parts.append(f"train.duration is {changes['train.duration']}")
    if "train.batch_size" in changes:
        parts.append(f"train.batch_size is {changes['train.batch_size']}")
    if parts:
        parts[-1] += f", because there are {look.images:,} images"
    if any(field.startswith("views.") for field in changes):
        parts.append("views leave hue, saturation and greyscale out, because no image has colour")
    return f"{'; '.join(parts)}; `overrides` sets others"
