"""Make a run of weights that another code has saved: one that every evaluation takes."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from sslcli import assemble
from sslcli.assemble.facts import is_ours
from sslcli.config.presets import to_toml
from sslcli.config.schema import Config
from sslcli.data.text.kept import keep, remember
from sslcli.distributed.collective import is_main, main_first
from sslcli.engine.checkpoint import NAME, Checkpoint, load_checkpoint, save_checkpoint
from sslcli.engine.run_directory import CONFIG, check_free, create_run, unlock_run
from sslcli.errors import CheckpointError, UsageError
from sslcli.evaluate.learned import LEARNED
from sslcli.files import write_atomically
from sslcli.listener import Listener
from sslcli.nn.foreign.files import digest_of, parts_of, read_tensors, weights_file
from sslcli.nn.foreign.folder import CONFIG as FOLDER_CONFIG
from sslcli.nn.foreign.folder import Described, described
from sslcli.nn.foreign.hub import PREFIX, located
from sslcli.nn.foreign.towers import find_towers
from sslcli.nn.weights import LoadReport, put_weights
from sslcli.workflows.imported_classifier import Kept, with_classifier
from sslcli.workflows.imported_config import IMPORTED, Wish, config_for, with_what_fits
from sslcli.workflows.imported_towers import with_towers
from sslcli.workflows.origins import origin_of


@dataclass(frozen=True)
class Prepared:
    """A run of imported weights, before it is written.

    Attributes:
        config: Its config.
        tensors: The encoder's, and the classifier's if there is one, or those of two towers, as a
            checkpoint names them.
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
        described = self.checkpoint(out).facts
        try:
            write_atomically(
                out / NAME, lambda path: save_checkpoint(path, self.tensors, self.config, described)
            )
            text = to_toml(self.config)
            write_atomically(out / CONFIG, lambda path: path.write_text(text, "utf-8"))
            if self.config.tokenizer:
                keep(self.config.tokenizer.digest, out)
        finally:
            unlock_run(out)
        return out

    def checkpoint(self, out: Path) -> Checkpoint:
        """Return the checkpoint of such a run, whose tensors are in memory, without writing it."""
        facts = {"step": 0, "metrics": {}, "data": {}, LEARNED: [], IMPORTED: {**self.facts}}
        return Checkpoint(out / NAME, self.config, facts, self.tensors)


def is_foreign(spec: str) -> bool:
    """Say whether a path names weights of another code, or a model of the hub."""
    path = Path(spec).expanduser()
    if spec.startswith(PREFIX):
        return True
    if path.is_dir():
        return not (path / NAME).exists() and (path / FOLDER_CONFIG).is_file()
    return path.is_file() and not is_ours(path)


def checkpoint_of(
    given: str | Path | Checkpoint,
    encoder: str | None,
    preset: str | None,
    listener: Listener,
    *,
    dry_run: bool = False,
) -> Checkpoint:
    """Return the checkpoint of a path; weights of another code are imported below runs/, once.

    Args:
        given: The path, or a checkpoint that was opened.
        encoder: The network of weights of another code.
        preset: Whose images and protocols suit such weights.
        listener: Who is told what is found.
        dry_run: Read such weights and write nothing.

    Raises:
        SslError: If there is none, or what is said of the weights does not fit them.
    """
    if isinstance(given, Checkpoint) or not is_foreign(str(given)):
        if encoder or preset:
            where = "encoder" if encoder else "preset"
            what = "a checkpoint of ours knows its encoder and its preset"
            raise UsageError(what, where, "leave it out; `overrides` changes a field")
        return given if isinstance(given, Checkpoint) else load_checkpoint(given)
    path, wish = located(str(given), download=False), Wish(encoder, preset)
    with main_first(is_main()):
        folder = default_folder(path, wish)
        if not (folder / NAME).is_file():
            found = prepare(str(given), wish, listener)
            if dry_run:
                return found.checkpoint(folder)
            found.write(folder, overwrite=False)
    listener.note(f"{given} is imported as {folder}")
    return load_checkpoint(folder)


def _is_whole(file: Path) -> bool:
    if not is_ours(file):
        return False
    try:
        load_checkpoint(file)
    except CheckpointError:  # it is damaged, as reading its tensors says
        return False
    return True


def default_folder(path: Path, wish: Wish) -> Path:
    """Return the folder of an import that no other weights or wish have."""
    stem = path.name.split(".")[0] or path.resolve().name
    return Path("runs") / f"import-{stem}-{wish.digest(digest_of(weights_file(path)))[:8]}"


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
    if _is_whole(file):
        raise UsageError("this is a checkpoint of ours already", spec, "evaluate it as it is")
    stored, folder = read_tensors(file), described(path)
    known = folder.towers if folder else None
    towers = None if wish.encoder else find_towers(stored, str(file), wish.key, known)
    if towers:
        kept, report, why = with_towers(towers, path, str(file), wish, folder)
        label = towers.layout
    else:
        kept, report, why, label = _encoder_of(stored, path, str(file), wish, folder)
    left = tuple(name for name in report.ignored if name not in kept.names)
    licence = wish.licence or (folder.licence if folder else "")
    facts = {
        "source": spec if spec.startswith(PREFIX) else str(path.absolute()),
        "sha256": (sha := digest_of(file)),
        "bytes": sum(part.stat().st_size for part in parts_of(file)),
        "origin": folder.package if folder else label,
        "prefix": report.prefix,
        "spelling": report.spelling,
        "classes": kept.classes,
        "left_out": len(left),
        "licence": licence,
        "digest": wish.digest(sha),
    }
    for note in (*why, *kept.said, *(folder.notes if folder else ())):
        listener.note(note)
    return Prepared(kept.config, kept.tensors, replace(report, ignored=left), facts)


def _encoder_of(
    stored: Mapping[str, Tensor], path: Path, where: str, wish: Wish, folder: Described | None
) -> tuple[Kept, LoadReport, list[str], str]:
    """Return the encoder in a file with its classifier, and the code that wrote it.

    Raises:
        SslError: If none fits, or one of texts has no tokenizer.
    """
    origin = origin_of(stored)
    config, why = config_for(stored, where, wish, origin, folder)
    if config.tokenizer:
        digest = remember(assemble.tokenizer_for(config, path))
        tokenizer = config.tokenizer.model_copy(update={"digest": digest})
        config = config.model_copy(update={"tokenizer": tokenizer})
    encoder = assemble.fresh_encoder(config)
    try:
        report = put_weights(encoder, stored, where, wish.key)
    except CheckpointError as fault:
        raise with_what_fits(fault, stored, where, wish) from fault
    kept = with_classifier(config, encoder, stored, report, origin)
    return kept, report, why, origin.label


def check_place(out: Path, *, overwrite: bool) -> Path:
    """Return a folder that a run may be made in.

    Raises:
        UsageError: If something else is there.
    """
    check_free(out, overwrite=overwrite)
    return out
