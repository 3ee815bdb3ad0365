"""Choose the config of a run of weights that another code has saved."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from sslcli.config.encoder import EncoderConfig
from sslcli.config.families import family_of
from sslcli.config.presets import resolve, revise
from sslcli.config.schema import Config
from sslcli.errors import CheckpointError, SslError
from sslcli.nn.foreign.folder import Described
from sslcli.nn.foreign.guess import called, guess_encoder, image_size_of
from sslcli.workflows.changes import Changes, divided
from sslcli.workflows.origins import Origin, preset_for

IMPORTED = "imported"  # among a checkpoint's facts: where its weights came from


@dataclass(frozen=True)
class Wish:
    """What the user says of the weights.

    Attributes:
        encoder: Name of the network; None to tell it from names and shapes.
        preset: Whose images and protocols to evaluate with; None for those of the file's origin.
        key: Name in the file that the network lies below; empty for wherever it fits.
        licence: Of the weights.
        changes: Of the config.
    """

    encoder: str | None = None
    preset: str | None = None
    key: str = ""
    licence: str = ""
    changes: Changes = ()

    def digest(self, sha: str) -> str:
        """Return what tells this import from others."""
        changes = sorted(self.changes.items()) if isinstance(self.changes, Mapping) else [
            *self.changes]  # fmt: skip
        wish = (sha, self.encoder, self.preset, self.key, self.licence, changes)
        return hashlib.sha256(repr(wish).encode()).hexdigest()


def config_for(
    stored: Mapping[str, Tensor],
    where: str,
    wish: Wish,
    origin: Origin,
    folder: Described | None,
) -> tuple[Config, list[str]]:
    """Return the config of a run of these weights, and what was chosen and why."""
    why = []
    if wish.preset and not wish.encoder:
        encoder = resolve(wish.preset).config.encoder
    else:
        encoder = _encoder(stored, where, wish, origin, folder)
        if not wish.encoder:
            by = "config.json" if folder and folder.encoder else "names and shapes in the file"
            why.append(f"the encoder is {called(encoder)}, by {by}")
        if encoder.stem == "cifar":
            padding = f"encoder.stem_padding = {encoder.stem_padding}"
            why.append(f"no tensor shows the padding of a 3x3 stem; {padding} is taken")
    preset = wish.preset or preset_for(origin, encoder)
    if not wish.preset:
        by = f"the names are those of {origin.label}" if origin.label else "no code is recognised"
        by = f"the folder is one of {folder.package}" if folder else by
        told = folder and (folder.data or folder.max_length)
        what = "protocols" if told else "images and protocols"
        why.append(f"{what} are those of {preset}, because {by}; choose with `preset`")
    plain = resolve(preset).config.model_dump()
    plain |= {
        "preset": preset,
        "method": {"name": IMPORTED},
        "encoder": {**encoder.model_dump(), "weights": None},
    }
    plain["data"] |= {"source": "", "test": None, "seeds": None}
    plain["train"]["chunk_size"] = None
    if plain["evaluation"]["features"] == "head":
        plain["evaluation"]["features"] = "encoder"
        why.append(f"{preset} is evaluated on its head, which is left out; here on the encoder")
    if family_of(encoder).reads == "text":
        longest = folder.max_length if folder else None
        plain["texts"] = [{"max_length": longest or encoder.max_positions}]
        plain["tokenizer"] = {"kind": "own"}
    elif not wish.preset:
        plain["data"] |= _images(plain["data"], stored, encoder, folder)
    fields, texts = divided({}, wish.changes)
    return revise(Config.model_validate(plain), fields, texts), why


def _encoder(
    stored: Mapping[str, Tensor],
    where: str,
    wish: Wish,
    origin: Origin,
    folder: Described | None,
) -> EncoderConfig:
    """Return the encoder of the name given, of the folder, or that names and shapes tell."""
    if folder and folder.encoder and not wish.encoder:
        return folder.encoder
    size = folder.data.get("image_size") if folder else None
    try:
        encoder = guess_encoder(stored, where, wish.key, name=wish.encoder or "", image_size=size)
    except CheckpointError as fault:
        raise with_what_fits(fault, stored, where, wish) from fault
    if encoder.stem == "cifar":
        return encoder.model_copy(update={"stem_padding": origin.stem_padding})
    return encoder


def with_what_fits(
    fault: CheckpointError, stored: Mapping[str, Tensor], where: str, wish: Wish
) -> CheckpointError:
    """Return a fault whose hint names the encoder that does fit, if one does."""
    if not (wish.encoder or wish.preset):
        return fault
    try:
        fitting = guess_encoder(stored, where, wish.key)
    except SslError:
        return fault
    hint = f"what fits is {called(fitting)}: leave `encoder` out, or name it"
    return CheckpointError(fault.what, where, hint)


def _images(
    data: Mapping[str, Any],
    stored: Mapping[str, Tensor],
    encoder: EncoderConfig,
    folder: Described | None,
) -> dict[str, Any]:
    """Return the fields of the images that the folder or the table of positions tells."""
    if folder and folder.data:
        return dict(folder.data)
    size = image_size_of(stored, encoder)
    if not size or size == data["image_size"]:
        return {}
    resize = data["resize"] and max(size, round(data["resize"] * size / data["image_size"]))
    return {"image_size": size, "resize": resize}
