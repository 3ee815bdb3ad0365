"""Find the config to train with: a preset that suits the data, and the changes laid over it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sslcli.config.methods.registry import is_custom
from sslcli.config.presets import Resolved, list_presets, resolve
from sslcli.config.schema import Config, TrainConfig
from sslcli.data.sources.builtin import OFFLINE
from sslcli.environment import world
from sslcli.errors import UsageError
from sslcli.listener import Listener
from sslcli.workflows.adapt import adapted
from sslcli.workflows.changes import Changes, divided
from sslcli.workflows.place import Place

FIELDS = {  # of the config, by the argument that sets each
    "data": "data.source",
    "test": "data.test",
    "data_root": "data.root",
    "download": "data.download",
    "seed": "seed",
    "precision": "train.precision",
    "compile": "train.compile",
    "chunk_size": "train.chunk_size",
    "on_collapse": "train.on_collapse",
    "keep": "train.keep",
    "log": "train.log",
    "best": "train.best",
    "patience": "train.patience",
    "init": "encoder.weights",
    "init_text": "text_encoder.weights",
}

_SMALL_SIDE = 64
_RECIPE = "simsiam"  # whose views, encoder and optimiser a method of the user's own starts from


def planned(
    method: str | None,
    preset: str | None,
    config: str | None,
    overrides: Changes,
    place: Place,
    device: str,
    devices: int,
    listener: Listener,
    *,
    fit: bool = False,
    **given: Any,
) -> Config:
    """Return the config to train with, of a new run or of one to resume.

    Args:
        method: A paper's short name, or a class of the user's own, whose file may then run.
        preset: A preset's name.
        config: A config file.
        overrides: Changes of the config.
        place: Where the run goes.
        device: Where to train.
        devices: Processes that will train on this machine.
        listener: Told which preset was chosen and why.
        fit: Whether a run to resume was changed to fit the memory, and so keeps its own sizes.
        given: Values for `fields_of`.

    Raises:
        SslError: If nothing says what to train, or something does not fit.
    """
    wished = (method, preset, config, fields_of(**given), overrides)
    if not place.resume:
        chosen = resolved(*wished, device, listener).config
    else:
        chosen = _gone_on(*wished, place, device, listener)
        chosen = _refitted(chosen, place, listener) if fit else chosen
    if chosen.method.from_checkpoint:
        what = f"what a run named {chosen.method.name} has is not trained from its config"
        hint = (
            "use `finetune()`, `linear_eval()` with `protocol` paper, or `distill()`, and "
            "`resume`; or name a method, and start it from the weights with `init`"
        )
        raise UsageError(what, "method.name", hint)
    if is_custom(chosen.method.name):
        from sslcli.methods.custom import completed  # noqa: PLC0415  torch, for own methods alone

        chosen = completed(chosen)
    check_batch(chosen.train, devices)
    return chosen


def fields_of(**given: Any) -> dict[str, Any]:
    """Return the config's field for each argument of `FIELDS` that is neither None nor False."""
    return {
        FIELDS[name]: each for name, each in given.items() if each is not None and each is not False
    }


def resolved(
    method: str | None,
    preset: str | None,
    config: str | None,
    fields: Mapping[str, Any],
    overrides: Changes,
    device: str,
    listener: Listener,
) -> Resolved:
    """Return the config of a preset, given or chosen for the data, with all changes laid over it.

    Numbers that the preset leaves to the data are adapted to it.

    Args:
        method: A paper's short name, or a class of the user's own, whose file may then run.
        preset: A preset's name.
        config: A config file.
        fields: Values by dotted field.
        overrides: Further changes, which win.
        device: Where to train.
        listener: Told which preset was chosen and why, and what the data changed of it.
    """
    fields, texts = divided(_named(method, fields), overrides)
    name = choose_preset(method, preset, config, fields.get("data.source"), device, listener)
    return adapted(resolve(name, config, fields, texts), listener)


def _named(method: str | None, fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the fields with a user's own class as the method; its file may run from now on."""
    if not is_custom(method):
        return fields
    from sslcli.methods.custom import name_code  # noqa: PLC0415  torch, for own methods alone

    name_code(str(method))
    return {**fields, "method.name": method}


def _gone_on(
    method: str | None,
    preset: str | None,
    config: str | None,
    fields: Mapping[str, Any],
    overrides: Changes,
    place: Place,
    device: str,
    listener: Listener,
) -> Config:
    """Return the config of the run to resume, with the given changes laid over it.

    If the preset is named again, the config is that preset's, with new fields as the version that
    began the run had them.
    """
    from sslcli.workflows.resuming import aged, stored  # noqa: PLC0415  torch, to resume alone

    # older runs chose the held-out images by their seed
    fields = {**fields, "data.holdout_seed": place.stored().data.holdout_seed}
    if not (preset or config) and (not method or is_custom(method)):
        fields, texts = divided(_named(method, fields), overrides)
        return stored(place.stored(), Path(str(place.out)), fields, texts)
    wished = resolved(method, preset, config, fields, overrides, device, listener)
    chosen, kept = aged(wished, place.saved())
    if kept:
        listener.note(f"the run began before these fields, and keeps to that: {', '.join(kept)}")
    return chosen


def _refitted(wished: Config, place: Place, listener: Listener) -> Config:
    """Return a config with the sizes that `fit` chose for the run to resume."""
    from sslcli.workflows.resuming import refitted  # noqa: PLC0415  torch, to resume alone

    chosen, kept = refitted(place.stored(), wished)
    if kept:
        listener.note(f"the run keeps the sizes that it was fitted to: {', '.join(kept)}")
    return chosen


def check_batch(train: TrainConfig, devices: int) -> None:
    """Raise UsageError unless a batch divides among the processes and their parts.

    Args:
        train: The batch.
        devices: Processes to start, unless another launcher has started some.
    """
    processes = max(devices, world().size)
    if train.batch_size % (train.accumulate * processes):
        parts = f", {train.accumulate} parts each" if train.accumulate > 1 else ""
        what = f"a batch of {train.batch_size} does not divide among {processes} processes{parts}"
        raise UsageError(what, "train.batch_size", "choose a multiple")


def choose_preset(
    method: str | None,
    preset: str | None,
    config: str | None,
    data: str | None,
    device: str,
    listener: Listener,
) -> str | None:
    """Return a preset's name; None when a config file alone decides.

    Args:
        method: A paper's short name, or a class of the user's own.
        preset: A preset's name, which wins.
        config: A config file.
        data: The data set.
        device: Where to train.
        listener: Told which preset was chosen and why.

    Raises:
        UsageError: If nothing says what to train, or the method has no fitting preset.
    """
    if preset:
        if method and not (fits(method, preset) or preset.endswith(".toml")):
            what = f"`preset` {preset} is not one of `method` {method}"
            raise UsageError(what, "preset", "give one of the two")
        return preset
    if not method:
        if config:
            return None
        hint = "name a method such as simsiam, or a preset such as simsiam/scenes"
        raise UsageError("nothing says what to train", "method, preset, config", hint)
    recipe = _RECIPE if is_custom(method) else method
    settings = [name.split("/")[1] for name in list_presets() if name.startswith(f"{recipe}/")]
    if not settings:
        known = sorted({name.split("/")[0] for name in list_presets()})
        hint = f"there are: {', '.join(known)}"
        raise UsageError(f"no preset is for a method named {method!r}", "method", hint)
    fitting, reason = _fitting(recipe, settings, data, device)
    setting = next((name for name in fitting if name in settings), None)
    if setting is None:
        hint = f"choose one of: {', '.join(f'{recipe}/{name}' for name in settings)}"
        raise UsageError(f"{recipe} has no preset for this data: {reason}", "preset", hint)
    reason += f", and {recipe} has no {fitting[0]}" if setting != fitting[0] else ""
    chosen = f"{recipe}/{setting}"
    what = f"all but the method as in {chosen}" if is_custom(method) else f"preset {chosen}"
    listener.note(f"{what}, because {reason}; choose another with `preset`")
    return chosen


def fits(method: str, preset: str) -> bool:
    """Say whether a preset is one of a method; a method of the user's own goes with any."""
    return is_custom(method) or preset.startswith(f"{method}/")


def _fitting(
    recipe: str, settings: Sequence[str], data: str | None, device: str
) -> tuple[tuple[str, ...], str]:
    """Return the settings for the data, the most fitting one first, and the reason."""
    section = resolve(f"{recipe}/{settings[0]}").config.method
    if data is None:
        return (section.builtin,), "no `data` is given"
    if section.reads == {"text"} and data not in settings:
        return ("texts",), "the data is sentences of your own"
    if data in settings and data in OFFLINE:
        return (data,), f"the data is the built-in {data}"
    from sslcli.data.sources.looks import look_at  # noqa: PLC0415  torch, to look at data alone
    from sslcli.engine.device import pick_device  # noqa: PLC0415  as above

    side, where = look_at(data, reads=section.reads).side, pick_device(device).type
    reason = f"the images are about {side} pixels wide and the device is {where}"
    if side > _SMALL_SIDE:
        large, small = ("photos", "imagenet"), ("photos-small", "cifar10-small")
        return large if where == "cuda" else small, reason
    return ("cifar10",) if where == "cuda" else ("cifar10-small",), reason
