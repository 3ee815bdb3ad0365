"""Build what a command needs from a config: the one place that knows data, networks and methods."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from sslcli.config.schema import Config
from sslcli.config.section import Column, DataFacts, MethodSection
from sslcli.data.evaluation import Inputs, eval_batches, eval_texts
from sslcli.data.images.views import Views
from sslcli.data.loader import TrainLoader
from sslcli.data.sources.base import need, need_labels
from sslcli.data.sources.open import Source
from sslcli.data.sources.places import absolute_paths
from sslcli.data.sources.seed_patches import SeedPatches
from sslcli.data.sources.splits import Splits, open_splits
from sslcli.data.text.feed import TextViews
from sslcli.data.text.tokenizer import ByteTokenizer, Tokenizer
from sslcli.distributed.collective import rank, world_size
from sslcli.distributed.sync_norm import synchronize
from sslcli.engine.checkpoint import Checkpoint
from sslcli.engine.device import Precision, grad_scaler
from sslcli.engine.loop import Training
from sslcli.engine.optim import build_optimizer
from sslcli.engine.parallel import model_of, part_random_states
from sslcli.environment import world
from sslcli.errors import ConfigError
from sslcli.evaluate.features import Features, cache_key, extract
from sslcli.evaluate.learned import LEARNED, Learned, learned_of
from sslcli.methods.base import Method
from sslcli.methods.custom import section_of
from sslcli.methods.registry import method_class
from sslcli.nn.architectures import family_of
from sslcli.nn.encoders import build_encoder
from sslcli.nn.weights import check_weights, load_encoder_weights

ModuleT = TypeVar("ModuleT", bound=nn.Module)
EVALUATION_BATCH = 512
BarFor = Callable[[str], Callable[[int, int], None]]


def build_method(
    config: Config,
    device: torch.device | str = "cpu",
    facts: DataFacts | None = None,
    *,
    load_start: bool = False,
    told: Callable[[str], object] = lambda note: None,
) -> Method:
    """Return the config's method on `device`, with the fresh weights that its seed decides.

    Args:
        config: What to build.
        device: Where to put it.
        facts: What is known of the training data, for a method that remembers each of its images.
        load_start: Load the weights that `encoder.weights` names, before targets are copied.
        told: Called with what is to be said of those weights.

    Raises:
        ConfigError: If something does not fit: the encoder, the method or the data.
    """
    torch.manual_seed(config.seed)
    encoder = build_encoder(config.encoder, config.data.image_size)
    if load_start:
        load_start_weights(encoder, config, told)
    section = section_of(config).complete(facts or DataFacts())
    build: Callable[[MethodSection, nn.Module], Method] = method_class(section.name)
    return place(build(section, encoder), config, device)


def facts_of(source: Source) -> DataFacts:
    """Return the facts about the training data that methods may need."""
    classes = () if source.labels is None else source.class_names
    return DataFacts(source.name, len(source), tuple(classes))


def load_start_weights(encoder: nn.Module, config: Config, told: Callable[[str], object]) -> None:
    """Load the weights that `encoder.weights` names, if any, and tell what is to be said of them.

    Raises:
        CheckpointError: If they do not fit.
    """
    if not config.encoder.weights:
        return
    report = load_encoder_weights(encoder, config.encoder.weights)
    if report.note:
        told(f"{config.encoder.weights}: {report.note}")


def place(module: ModuleT, config: Config, device: torch.device | str) -> ModuleT:
    """Move a module to the device, in the memory format that the config asks for."""
    layout = torch.channels_last if config.train.channels_last else torch.contiguous_format
    return module.to(device=device).to(memory_format=layout)


def build_training(
    config: Config,
    method: Method,
    source: Source,
    device: torch.device,
    precision: Precision,
    progress: Callable[[int, int], None] | None = None,
) -> Training:
    """Return a training at step 0.

    Args:
        config: What to train and how.
        method: Already on the device.
        source: The training part of the data.
        device: Where to train.
        precision: "bf16", "fp16" or "fp32".
        progress: Called while images are decoded.

    Raises:
        ConfigError: If the data cannot fill a batch.
        DataError: If the data is not of the kind that the method reads.
    """
    train = config.train
    if method.gathers and world_size() > 1 and not train.drop_last:
        what = f"{config.method.name} compares samples over processes, and needs equally many"
        raise ConfigError(what, "train.drop_last", "set it to true")
    section = section_of(config).complete(facts_of(source))
    need(source, *sorted(section.reads))
    shown = config.views if "image" in section.reads else ()
    texts = text_views(config) if "text" in section.reads else None
    loader = TrainLoader(
        source,
        config.data,
        Views(shown, config.data.pixels, config.seed),
        batch_size=train.batch_size // train.accumulate,
        seed=config.seed,
        device=device,
        drop_last=train.drop_last,
        parts=train.accumulate,
        rank=rank(),
        world_size=world_size(),
        machine_share=min(world().local_size, world_size()),
        least=2 if any(isinstance(m, _BatchNorm) for m in method.modules()) else 1,
        labelled=section.learns_labels,
        texts=texts,
        progress=progress,
    )
    if train.sync_batch_norm:
        synchronize(method, device)
    method.train()  # the method itself, whose override may keep parts in evaluation mode
    training = Training(
        method=method,
        model=model_of(method, device, train),
        optimizer=build_optimizer(method.param_groups(), config.optimizer, train.batch_size),
        scaler=grad_scaler(device, precision),
        loader=loader,
        config=config,
        device=device,
        precision=precision,
    )
    training.check()
    part_random_states(config.seed)
    return training


def data_facts(config: Config, splits: Splits, parent: Checkpoint | None = None) -> dict[str, Any]:
    """Return what a checkpoint says of the data it was trained on.

    Args:
        config: What was trained.
        splits: The data.
        parent: The checkpoint that it started or learned from.
    """
    train = splits.train
    learned = learned_of(parent) if parent else []
    if section_of(config).learns_labels:
        learned = [Learned.of(config.data, train), *learned]
    return {
        "data": {
            "name": train.name,
            "fingerprint": train.fingerprint,
            "images": len(train),
            "classes": list(train.class_names),
            "paths": absolute_paths(config.data),
        },
        LEARNED: [each.model_dump(mode="json") for each in learned],
    }


def load_encoder(checkpoint: Checkpoint, device: torch.device) -> nn.Module:
    """Rebuild a checkpoint's encoder with its weights.

    Raises:
        CheckpointError: If its tensors do not fit the config it carries.
    """
    config, weights = checkpoint.config, checkpoint.tensors("encoder.")
    with torch.device("meta"):  # an altered config may describe a network larger than the memory
        described = build_encoder(config.encoder, config.data.image_size)
    check_weights(described, weights, str(checkpoint.path))
    encoder = build_encoder(config.encoder, config.data.image_size)
    encoder.load_state_dict(weights)
    return place(encoder, config, device).eval()


def remembered_facts(checkpoint: Checkpoint) -> DataFacts:
    """Return what a checkpoint knows of the data it was trained on."""
    return DataFacts(rows=checkpoint.facts.get("data", {}).get("images"))


def load_method(checkpoint: Checkpoint, device: torch.device | str = "cpu") -> Method:
    """Rebuild a checkpoint's whole method, memory included, in evaluation mode.

    Raises:
        CheckpointError: If its tensors do not fit the config it carries.
    """
    config, weights = checkpoint.config, checkpoint.tensors()
    facts = remembered_facts(checkpoint)
    with torch.device("meta"):  # as in load_encoder
        described = build_method(config, "meta", facts)
    check_weights(described, weights, str(checkpoint.path))
    method = build_method(config, device, facts)
    method.load_state_dict(weights)
    return method.eval()


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
        batches = eval_batches(source, config.data, EVALUATION_BATCH, device)
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
    )


def text_views(config: Config) -> TextViews:
    """Return what makes tokens of a config's texts."""
    return TextViews(tokenizer_of(config), config.texts)


def tokenizer_of(config: Config) -> Tokenizer:
    """Return what makes numbers of a config's texts."""
    return ByteTokenizer()


def labels_of(source: Source, features: Features) -> Tensor:
    """Return the class of each feature row, [N] int64."""
    return torch.from_numpy(need_labels(source))[features.rows]


def open_data(config: Config, bar: BarFor | None = None) -> Splits:
    """Open the config's data set in its two parts, of labelled data what has a label."""
    progress = bar("reading the data") if bar else None
    return open_splits(config.data, progress, only_labelled=True)


def open_training(config: Config, bar: BarFor | None = None) -> Splits:
    """Open the data to train on: all of it, unless it comes with a test part.

    A method that sees no labels needs nothing held out; one that learns them keeps off the images
    that evaluations will hold out. None sees those of `data.validation`.
    """
    learns_labels, data = section_of(config).learns_labels, config.data
    data = data if learns_labels else data.model_copy(update={"holdout": 0.0})
    progress = bar("reading the data") if bar else None
    splits = open_splits(data, progress, only_labelled=learns_labels).without_validation(data)
    if data.seeds:
        progress = bar("looking for seeds") if bar else None
        patches = SeedPatches(splits.train, data.seeds, config.seed, progress)
        return replace(splits, train=patches)
    return splits
