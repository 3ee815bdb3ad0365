"""Make a run of weights that another code has saved: one that every evaluation takes."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from sslcli.config.encoder import EncoderConfig
from sslcli.config.presets import resolve, revise, to_toml
from sslcli.config.schema import Config
from sslcli.distributed.collective import is_main, main_first
from sslcli.engine.checkpoint import NAME, Checkpoint, is_bare, load_checkpoint, save_checkpoint
from sslcli.engine.run_directory import CONFIG, check_free, create_run, unlock_run
from sslcli.errors import CheckpointError, SslError, UsageError
from sslcli.evaluate.learned import LEARNED
from sslcli.files import sha256, write_atomically
from sslcli.listener import Listener
from sslcli.nn.encoders import build_encoder
from sslcli.nn.foreign.files import is_pickle, read_tensors, weights_file
from sslcli.nn.foreign.folder import CONFIG as FOLDER_CONFIG
from sslcli.nn.foreign.folder import Described, described
from sslcli.nn.foreign.guess import called, guess_encoder, image_size_of
from sslcli.nn.foreign.hub import PREFIX, located
from sslcli.nn.weights import LoadReport, put_weights
from sslcli.workflows.changes import Changes, divided
from sslcli.workflows.origins import Origin, origin_of, preset_for

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


@dataclass(frozen=True)
class Prepared:
    """A run of imported weights, before it is written.

    Attributes:
        config: Its config.
        tensors: The encoder's, as a checkpoint names them.
        report: What was found in the file.
        facts: Where the weights came from.
    """

    config: Config
    tensors: Mapping[str, Tensor]
    report: LoadReport
    facts: Mapping[str, Any]

    def write(self, out: Path, *, overwrite: bool) -> Path:
        """Write the run into a folder and return it.

        Raises:
            SslError: If something else is there, or it cannot be written.
        """
        create_run(out, overwrite=overwrite)
        facts = {"step": 0, "metrics": {}, "data": {}, LEARNED: [], IMPORTED: {**self.facts}}
        try:
            write_atomically(
                out / NAME, lambda path: save_checkpoint(path, self.tensors, self.config, facts)
            )
            text = to_toml(self.config)
            write_atomically(out / CONFIG, lambda path: path.write_text(text, "utf-8"))
        finally:
            unlock_run(out)
        return out


def is_foreign(spec: str) -> bool:
    """Say whether a path names weights of another code, or a model of the hub."""
    path = Path(spec).expanduser()
    if spec.startswith(PREFIX):
        return True
    if path.is_dir():
        return not (path / NAME).exists() and (path / FOLDER_CONFIG).is_file()
    if not path.is_file():
        return False
    return is_pickle(path) or is_bare(path)


def checkpoint_of(
    given: str | Checkpoint, encoder: str | None, preset: str | None, listener: Listener
) -> Checkpoint:
    """Return the checkpoint of a path; weights of another code are imported below runs/, once.

    Raises:
        SslError: If there is none, or what is said of the weights does not fit them.
    """
    if isinstance(given, Checkpoint) or not is_foreign(given):
        if encoder or preset:
            where = "encoder" if encoder else "preset"
            what = "a checkpoint of ours knows its encoder and its preset"
            raise UsageError(what, where, "leave it out; `overrides` changes a field")
        return given if isinstance(given, Checkpoint) else load_checkpoint(given)
    path, wish = located(given, download=False), Wish(encoder, preset)
    with main_first(is_main()):
        folder = default_folder(path, wish)
        if not (folder / NAME).is_file():
            prepare(given, wish, listener).write(folder, overwrite=False)
    listener.note(f"{given} is imported as {folder}")
    return load_checkpoint(folder)


def _is_ours(file: Path) -> bool:
    if is_pickle(file) or is_bare(file):
        return False
    try:
        load_checkpoint(file)
    except CheckpointError:  # it is damaged, as reading its tensors says
        return False
    return True


def default_folder(path: Path, wish: Wish) -> Path:
    """Return the folder of an import that no other weights or wish have."""
    stem = path.name.split(".")[0] or path.resolve().name
    return Path("runs") / f"import-{stem}-{wish.digest(sha256(weights_file(path)))[:8]}"


def prepare(spec: str, wish: Wish, listener: Listener, *, download: bool = False) -> Prepared:
    """Read weights, find the network in them, and choose how to evaluate it.

    Args:
        spec: A file, a Hugging Face folder, or a model of the hub as "hf:ORG/NAME".
        wish: What is said of them.
        listener: Told what is found and chosen.
        download: Allow a model of the hub to be fetched.

    Raises:
        SslError: If the weights cannot be read, or do not fit.
    """
    path = located(spec, download=download)
    file = weights_file(path)
    if _is_ours(file):
        raise UsageError("this is a checkpoint of ours already", spec, "evaluate it as it is")
    stored, folder = read_tensors(file), described(path)
    origin = origin_of(stored)
    config, why = _config(stored, str(file), wish, origin, folder)
    encoder = build_encoder(config.encoder, config.data.pixels.image_size)
    try:
        report = put_weights(encoder, stored, str(file), wish.key)
    except CheckpointError as fault:
        raise _with_what_fits(fault, stored, str(file), wish) from fault
    licence = wish.licence or (folder.licence if folder else "")
    facts = {
        "source": spec if spec.startswith(PREFIX) else str(path.absolute()),
        "sha256": (sha := sha256(file)),
        "bytes": file.stat().st_size,
        "origin": folder.package if folder else origin.label,
        "prefix": report.prefix,
        "spelling": report.spelling,
        "left_out": len(report.ignored),
        "licence": licence,
        "digest": wish.digest(sha),
    }
    for note in (*why, *(folder.notes if folder else ())):
        listener.note(note)
    tensors = {f"encoder.{name}": tensor for name, tensor in encoder.state_dict().items()}
    return Prepared(config, tensors, report, facts)


def _config(
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
        what = "protocols" if folder and folder.data else "images and protocols"
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
    if not wish.preset:
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
        raise _with_what_fits(fault, stored, where, wish) from fault
    if encoder.stem == "cifar":
        return encoder.model_copy(update={"stem_padding": origin.stem_padding})
    return encoder


def _with_what_fits(
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


def check_place(out: Path, *, overwrite: bool) -> Path:
    """Return a folder that a run may be made in.

    Raises:
        UsageError: If something else is there.
    """
    check_free(out, overwrite=overwrite)
    return out
