"""Write a run's encoder, or its calibrated classifier, in the format of another tool."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from sslcli.assemble import load_encoder, load_read_out, text_views
from sslcli.config.families import family_of
from sslcli.config.schema import Config
from sslcli.data.text.learned import LearnedTokenizer
from sslcli.engine.checkpoint import Checkpoint
from sslcli.errors import UsageError
from sslcli.evaluate.calibration.stored import (
    StoredCalibrator,
    calibrated_classifier,
    stored_calibrator,
)
from sslcli.evaluate.classifier import class_names
from sslcli.formats import FOLDER, FORMATS
from sslcli.formats.exporter import export_encoder
from sslcli.formats.inputs import FromPixels, ImageInput, Inputs, TextInput
from sslcli.formats.report import ExportMeta, ExportReport
from sslcli.listener import QUIET, Listener
from sslcli.workflows.checkpoint_config import name_code_of
from sslcli.workflows.importing import checkpoint_of
from sslcli.workflows.run import Run

Format = Literal["safetensors", "torchvision", "timm", "onnx", "pt2", "hf", "sentence-transformers"]
PROGRAMS = ("onnx", "pt2")  # whole; the others are weights of known encoders


@dataclass(frozen=True)
class Exported(ExportReport):
    """A file that was written, read back and compared.

    Attributes:
        calibrator: The stored calibrator that is folded into the classifier; None without one, or
            when the file holds no classifier.
    """

    calibrator: StoredCalibrator | None = None


def export(
    run: str | Path | Run,
    *,
    format: Format = "safetensors",
    classifier: bool = False,
    method: str | None = None,
    encoder: str | None = None,
    preset: str | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    listener: Listener = QUIET,
) -> Exported:
    """Write the encoder in another tool's format, read it back and compare.

    Args:
        run: A run directory, a checkpoint, or what `load` returned.
        format: The format of the next tool: "safetensors", "torchvision", "timm", "onnx" or "pt2";
            of encoders of sentences a folder, "hf" or "sentence-transformers".
        classifier: Export the classifier too (onnx and pt2), so that logits come out; a temperature
            or vector scaling that was stored is folded into its last layer.
        method: Where the class lies that the checkpoint names; see `load`.
        encoder: The network of weights of another code; see `load`.
        preset: Whose images suit such weights; see `load`.
        out: Where to write; None for encoder-FORMAT or classifier-FORMAT beside the checkpoint.
        overwrite: Replace the file that is there.
        listener: Who is told what happens.

    Raises:
        SslError: If the format has no place for the network or lacks a package, the file cannot be
            written, or its features differ from the encoder's; no file is left then.
    """
    checkpoint = opened(run, listener, encoder=encoder, preset=preset, method=method)
    path = planned(checkpoint, format, out, listener, classifier=classifier)
    stored = stored_calibrator(checkpoint) if classifier else None
    meta = export_meta(checkpoint, stored, format, classifier=classifier)
    network = network_of(checkpoint, meta, classifier=classifier)
    if classifier:
        listener.note(
            f"logits calibrated by {meta.calibrator or 'nothing: no calibrator is stored'}"
        )
    report = export_encoder(format, network, meta, path, overwrite=overwrite)
    return Exported(**vars(report), calibrator=stored)


def opened(
    run: str | Path | Run,
    listener: Listener,
    *,
    encoder: str | None,
    preset: str | None,
    method: str | None,
    dry_run: bool = False,
) -> Checkpoint:
    """Return the checkpoint of a run, a path or weights of another code; see `load`.

    Raises:
        SslError: If there is none, or something does not fit it.
    """
    given = run.checkpoint if isinstance(run, Run) else str(run)
    checkpoint = checkpoint_of(given, encoder, preset, listener, dry_run=dry_run)
    if method:
        name_code_of(checkpoint, method)
    return checkpoint


def planned(
    checkpoint: Checkpoint,
    format: Format,
    out: str | Path | None,
    listener: Listener,
    *,
    classifier: bool,
) -> Path:
    """Return the path to write to, and tell the listener checkpoint and path.

    Raises:
        UsageError: If the format has no place for a classifier.
    """
    if classifier and format not in PROGRAMS:
        hint = f"use `format` {' or '.join(PROGRAMS)}, or leave it out"
        raise UsageError(f"the format {format} holds an encoder alone", "classifier", hint)
    what = "classifier" if classifier else "encoder"
    name = f"{what}-{format}{FORMATS.get(format, '')}".rstrip(FOLDER)
    path = Path(out) if out else checkpoint.run / name
    name = checkpoint.config.encoder.name
    listener.note(f"{name} of {checkpoint.path} as {format} to {path}")
    features = checkpoint.config.evaluation.features
    if features != "encoder" and not classifier:
        listener.note(f"this is the encoder's own output; evaluations read out {features}")
    return path


def network_of(checkpoint: Checkpoint, meta: ExportMeta, *, classifier: bool) -> nn.Module:
    """Return a checkpoint's encoder on the CPU, followed by its classifier when asked for.

    The way from pixels to its input stands before it where `meta` says so.

    Raises:
        UsageError: If there is no classifier, or its stored calibrator is not linear.
    """
    cpu = torch.device("cpu")
    features = checkpoint.config.evaluation.features
    last = calibrated_classifier(checkpoint) if classifier else None
    network = (
        load_read_out(checkpoint, features, cpu)
        if last is not None
        else load_encoder(checkpoint, cpu)
    )
    if isinstance(meta.inputs, ImageInput) and meta.inputs.inside:
        network = FromPixels(network, meta.inputs.pixels)
    return network if last is None else nn.Sequential(network, last)


def export_meta(
    checkpoint: Checkpoint, stored: StoredCalibrator | None, format: Format, *, classifier: bool
) -> ExportMeta:
    """Return the facts about the encoder that its weights do not tell."""
    return ExportMeta(
        checkpoint.config.encoder,
        inputs_of(checkpoint.config, format),
        class_names(checkpoint) if classifier else (),
        stored.calibrator.method if stored else "",
    )


def inputs_of(config: Config, format: Format) -> Inputs:
    """Return the inputs of a config's encoder: images, or the tokens of texts.

    A program of an encoder that does not see red, green and blue holds the conversion.
    """
    if family_of(config.encoder).reads == "text":
        words = text_views(config)
        known = words.tokenizer
        text = known.text if isinstance(known, LearnedTokenizer) else ""
        return TextInput(words.longest, known.vocabulary, text)
    pixels = config.data.pixels
    return ImageInput(pixels, inside=format in PROGRAMS and pixels.space != "rgb")
