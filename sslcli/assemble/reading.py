"""Open a config's data and read it: as features of a network, as texts, as labels."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from sslcli.config.data import DataConfig
from sslcli.config.families import family_of
from sslcli.config.pixels import Pixels
from sslcli.config.schema import Config
from sslcli.config.section import NOUNS, TOWERS, Column
from sslcli.data.evaluation import Inputs, eval_batches, eval_texts
from sslcli.data.sources.base import Subset, need_labels, noun
from sslcli.data.sources.open import Source
from sslcli.data.sources.seed_patches import SeedPatches
from sslcli.data.sources.sentences import Sentences
from sslcli.data.sources.splits import Splits, open_splits
from sslcli.data.text.feed import TextViews
from sslcli.data.text.kept import recall, sentences_of
from sslcli.data.text.tokenizer import ByteTokenizer, Tokenizer
from sslcli.engine.device import Precision
from sslcli.errors import UsageError
from sslcli.evaluate.features import Features, cache_key, extract
from sslcli.methods.custom import section_of

EVALUATION_BATCH = 512
_SIDE = 96  # of the largest images that are embedded so many at a time on an accelerator
_CPU_PIXELS = 700_000  # 512 images of 36 pixels, 13 of 224
BarFor = Callable[[str], Callable[[int, int], None]]


def open_data(config: Config, bar: BarFor | None = None) -> Splits:
    """Open the config's data set in its two parts, of labelled data what has a label.

    Images without a caption are left out where the tower of texts is evaluated.
    """
    progress = bar("reading the data") if bar else None
    reads = family_of(config.encoder).reads
    by_text = config.evaluation.features == TOWERS[1]
    return open_splits(
        config.data, progress, only_labelled=True, needs_texts=by_text, opened_for=reads
    )


def open_training(config: Config, bar: BarFor | None = None) -> Splits:
    """Open the data to train on: all of it, unless it comes with a test part.

    A method that sees no labels needs nothing held out; one that learns them keeps off the images
    that evaluations will hold out. None sees those of `data.validation`. Images without a caption
    are left out where the method reads texts.
    """
    section, data = section_of(config), config.data
    learns_labels = section.learns_labels
    data = data if learns_labels else data.model_copy(update={"holdout": 0.0})
    progress = bar("reading the data") if bar else None
    reads = family_of(config.encoder).reads
    splits = open_splits(
        data, progress, only_labelled=learns_labels, needs_texts="text" in section.reads,
        opened_for=reads,
    )  # fmt: skip
    splits = splits.without_validation(data)
    if "text" in splits.train.columns:
        splits = replace(splits, train=training_texts(splits.train, data))
    if data.seeds:
        progress = bar("looking for seeds") if bar else None
        patches = SeedPatches(splits.train, data.seeds, config.seed, progress)
        return replace(splits, train=patches)
    return splits


def training_texts(source: Source, data: DataConfig) -> Source:
    """Return all sentences of a source as rows of their own, or each row once, if asked for."""
    if data.sentences == "all":
        source = Sentences(f"all sentences of {source.name}", sentences_of(source))
    if data.unique:
        first: dict[tuple[str, ...], int] = {}
        for row in range(len(source)):
            first.setdefault(source.sentences(row), row)
        source = Subset(source, np.array([*first.values()]), f"{source.name} (each once)")
    return source


def features_of(
    encoder: nn.Module,
    source: Source,
    config: Config,
    device: torch.device,
    precision: Precision,
    *,
    cache: Path | None = None,
    bar: BarFor | None = None,
    reads: Column | None = None,
) -> Features:
    """Run a network over every row of a source: images resized and centre-cropped, or texts.

    It `reads` that column of the source; None stands for what the config's encoder reads.
    """
    batches: Iterable[tuple[Inputs, Tensor]]
    if (reads or family_of(config.encoder).reads) == "text":
        words = text_views(config)
        batches = eval_texts(source, words, EVALUATION_BATCH, device)
        shown = {"tokenizer": words.tokenizer.digest, "max_length": words.longest}
    else:
        together = evaluation_batch(config.data.image_size, device)
        batches = eval_batches(source, config.data, together, device)
        shown = asdict(config.data.pixels)
    return extract(
        encoder,
        batches,
        device=device,
        precision=precision,
        cache=cache,
        key=cache_key(encoder, source.stamp(), shown) if cache else "",
        progress=bar(f"features of {source.name}") if bar else None,
        total=len(source),
        rows=noun(source),
    )


def pixels_of(config: Config) -> Pixels:
    """Return how images become the input of a config's encoder.

    Raises:
        UsageError: If it reads no images.
    """
    name, reads = config.encoder.name, family_of(config.encoder).reads
    if reads != "image":
        what = f"this is for encoders of images, and {name} reads {NOUNS[reads][1]}"
        raise UsageError(what, "encoder.name", "use a checkpoint of a method of images")
    return config.data.pixels


def evaluation_batch(side: int | None, device: torch.device) -> int:
    """Return how many images of a side are embedded at a time, or texts, which have none.

    Feature maps of 512 images of 224 pixels would take several GiB. On a CPU those of fewer fit
    the holes that training's steps leave in its memory, for up to a tenth more time.
    """
    if side is None:
        return EVALUATION_BATCH
    pixels = _CPU_PIXELS if device.type == "cpu" else EVALUATION_BATCH * _SIDE**2
    return max(1, min(EVALUATION_BATCH, pixels // side**2))


def text_views(config: Config) -> TextViews:
    """Return what makes tokens of a config's texts."""
    encoder = config.text_encoder or config.encoder
    positions = encoder.max_positions if config.tokenizer else None
    return TextViews(tokenizer_of(config), config.texts, config.seed, positions)


def count_cut(config: Config, texts: Sequence[str], longest: int | None = None) -> int:
    """Return how many texts have more tokens than `longest`, or than evaluation keeps of one."""
    words = text_views(config)
    longest = longest or words.longest
    lengths = words.tokenizer.encode(texts, longest + 1).mask.sum(dim=1)
    return int((lengths > longest).sum())


def tokenizer_of(config: Config) -> Tokenizer:
    """Return what makes numbers of a config's texts.

    Raises:
        CheckpointError: If the tokenizer of a run is not there.
    """
    return ByteTokenizer() if config.tokenizer is None else recall(config.tokenizer.digest)


def labels_of(source: Source, features: Features) -> Tensor:
    """Return the class of each feature row, [N] int64."""
    return torch.from_numpy(need_labels(source))[features.rows]
