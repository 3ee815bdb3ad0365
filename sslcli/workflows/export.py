"""Write a run's encoder, or its calibrated classifier, in the format of another tool."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from sslcli.assemble import (
    known_text_encoder,
    load_encoder,
    load_method,
    load_read_out,
    text_views,
    tower_of,
)
from sslcli.config.encoder import EncoderConfig
from sslcli.config.families import family_of
from sslcli.config.methods.captions import CaptionsSection
from sslcli.config.schema import Config
from sslcli.config.section import NOUNS
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
from sslcli.formats.inputs import FromPixels, ImageInput, Inputs, PairInput, TextInput
from sslcli.formats.report import ExportMeta, ExportReport, PairMeta
from sslcli.listener import QUIET, Listener
from sslcli.methods.base import Method
from sslcli.methods.captions import TwoTowers
from sslcli.nn.tower import BothTowers
from sslcli.workflows.changes import Tower
from sslcli.workflows.checkpoint_config import name_code_of
from sslcli.workflows.importing import checkpoint_of
from sslcli.workflows.run import Run

Format = Literal["safetensors", "torchvision", "timm", "onnx", "pt2", "hf", "sentence-transformers"]
PROGRAMS = ("onnx", "pt2")  # whole; the others are weights of known encoders
WITH_PROJECTION = ("safetensors", *PROGRAMS)
PAIRS = ("hf",)  # both towers, of a method that has two


@dataclass(frozen=True)
class What:
    """The part of a run that is exported, and the format.

    Attributes:
        format: A name of `FORMATS`.
        tower: Of a method with two, with its projection; None for the encoder.
        classifier: Whether the classifier stands behind the encoder.
    """

    format: Format
    tower: Tower | None = None
    classifier: bool = False

    def is_pair(self, config: Config) -> bool:
        """Say whether both towers are exported."""
        return config.text_encoder is not None and self.format in PAIRS

    def noun(self, config: Config) -> str:
        """Return what the file is called by default."""
        if self.classifier:
            return "classifier"
        if self.is_pair(config):
            return "towers"
        return f"{self.tower}-tower" if self.tower else "encoder"

    def encoder_of(self, config: Config) -> EncoderConfig:
        """Return the encoder that is exported."""
        return known_text_encoder(config) if self.tower == "text" else config.encoder

    def projection_of(self, config: Config) -> int | None:
        """Return the entries of the exported tower's projection; None where nothing projects."""
        section = config.method
        has_projection = self.tower or self.is_pair(config)
        if not has_projection or not isinstance(section, CaptionsSection):
            return None
        return section.dim if self.tower == "text" or section.project_image else None

    def check(self, config: Config) -> None:
        """Raise UsageError if the format has no place for a part, or the run has not got it."""
        if self.classifier and self.format not in PROGRAMS:
            hint = f"use `format` {' or '.join(PROGRAMS)}, or leave it out"
            raise UsageError(f"the format {self.format} holds an encoder alone", "classifier", hint)
        if not self.tower:
            return
        if config.text_encoder is None:
            column = NOUNS[family_of(config.encoder).reads][1]
            what = f"a run of {config.method.name} has one tower, which reads {column}"
            raise UsageError(what, "tower", "leave it out: that one is exported")
        if self.is_pair(config):
            what = f"the format {self.format} holds both towers"
            raise UsageError(what, "tower", "leave it out")
        if self.format not in WITH_PROJECTION:
            what = f"the format {self.format} has no place for a tower's projection"
            hint = f"use `format` {', '.join(WITH_PROJECTION)}, or leave `tower` out"
            raise UsageError(what, "tower", hint)


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
    tower: Tower | None = None,
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
            of encoders of sentences a folder, "hf" or "sentence-transformers"; of CLIP's own
            transformers "hf", with both towers.
        classifier: Export the classifier too (onnx and pt2), so that logits come out; a temperature
            or vector scaling that was stored is folded into its last layer.
        tower: Which tower to export, with its projection, of a method with one of images and one of
            texts (safetensors, onnx and pt2); None for the encoder alone, which is that of images.
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
    wish = What(format, tower, classifier=classifier)
    path = planned(checkpoint, wish, out, listener)
    stored = stored_calibrator(checkpoint) if classifier else None
    meta = export_meta(checkpoint, stored, wish)
    network = network_of(checkpoint, meta, wish)
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


def planned(checkpoint: Checkpoint, what: What, out: str | Path | None, listener: Listener) -> Path:
    """Return the path to write to, and tell the listener checkpoint and path.

    Raises:
        UsageError: If the format has no place for a classifier or a tower, or there is one tower.
    """
    what.check(checkpoint.config)
    name = f"{what.noun(checkpoint.config)}-{what.format}{FORMATS.get(what.format, '')}".rstrip(
        FOLDER
    )
    path = Path(out) if out else checkpoint.run / name
    name = what.encoder_of(checkpoint.config).name
    listener.note(f"{name} of {checkpoint.path} as {what.format} to {path}")
    features = checkpoint.config.evaluation.features
    if checkpoint.config.text_encoder and not what.tower and not what.is_pair(checkpoint.config):
        said = "this is the encoder of images without its projection"
        listener.note(f"{said}; `tower` image or text exports a tower with its own")
    elif features != "encoder" and not what.classifier:
        listener.note(f"this is the encoder's own output; evaluations read out {features}")
    return path


def network_of(checkpoint: Checkpoint, meta: ExportMeta, what: What) -> nn.Module:
    """Return a checkpoint's encoder or tower on the CPU, with its classifier when asked for.

    The way from pixels to its input stands before it where `meta` says so.

    Raises:
        UsageError: If there is no classifier, or its stored calibrator is not linear.
    """
    cpu = torch.device("cpu")
    features = checkpoint.config.evaluation.features
    last = calibrated_classifier(checkpoint) if what.classifier else None
    network: nn.Module
    if meta.pair:
        network = _both(load_method(checkpoint, cpu))
    elif what.tower:
        network = tower_of(load_method(checkpoint, cpu), what.tower)
    elif last is not None:
        network = load_read_out(checkpoint, features, cpu)
    else:
        network = load_encoder(checkpoint, cpu)
    if isinstance(meta.inputs, ImageInput) and meta.inputs.inside:
        network = FromPixels(network, meta.inputs.pixels)
    return network if last is None else nn.Sequential(network, last)


def _both(method: Method) -> BothTowers:
    assert isinstance(method, TwoTowers)
    return BothTowers(
        method.encoder, method.image_projection, method.text_encoder, method.text_projection
    )


def _pair_meta(checkpoint: Checkpoint) -> PairMeta:
    """Return what is to be known of both towers beside their weights."""
    config, method = checkpoint.config, load_method(checkpoint)
    assert isinstance(method, TwoTowers)
    return PairMeta(known_text_encoder(config), method.config.dim, *method.scoring)


def export_meta(checkpoint: Checkpoint, stored: StoredCalibrator | None, what: What) -> ExportMeta:
    """Return the facts about the network that its weights do not tell."""
    config = checkpoint.config
    return ExportMeta(
        what.encoder_of(config),
        inputs_of(config, what),
        class_names(checkpoint) if what.classifier else (),
        stored.calibrator.method if stored else "",
        what.projection_of(config),
        _pair_meta(checkpoint) if what.is_pair(config) else None,
    )


def inputs_of(config: Config, what: What) -> Inputs:
    """Return the inputs of what is exported: images, the tokens of texts, or both.

    A program of an encoder that does not see red, green and blue holds the conversion.
    """
    if what.is_pair(config):
        return PairInput(ImageInput(config.data.pixels), _text_input(config))
    if family_of(what.encoder_of(config)).reads == "text":
        return _text_input(config)
    pixels = config.data.pixels
    return ImageInput(pixels, inside=what.format in PROGRAMS and pixels.space != "rgb")


def _text_input(config: Config) -> TextInput:
    words = text_views(config)
    known = words.tokenizer
    if not isinstance(known, LearnedTokenizer):
        return TextInput(words.longest, known.vocabulary)
    return TextInput(words.longest, known.vocabulary, known.text, known.end)
