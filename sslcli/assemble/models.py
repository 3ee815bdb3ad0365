"""Build a config's encoder and method, and rebuild those of a checkpoint."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import nn

from sslcli.assemble.facts import completed_section, remembered_facts
from sslcli.assemble.reading import tokenizer_of
from sslcli.config.encoder import EncoderConfig
from sslcli.config.families import family_of
from sslcli.config.schema import Config
from sslcli.config.section import NOUNS, TOWERS, Column, DataFacts
from sslcli.engine.checkpoint import Checkpoint
from sslcli.errors import ConfigError, UsageError, told_of
from sslcli.methods.base import HasProjector, Method
from sslcli.methods.custom import section_of
from sslcli.methods.registry import method_class
from sslcli.nn.encoders import build_encoder
from sslcli.nn.foreign.hub import located
from sslcli.nn.read_out import read_out
from sslcli.nn.weights import check_weights, load_encoder_weights

ModuleT = TypeVar("ModuleT", bound=nn.Module)


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
        UsageError: If the config's weights were imported, and no method trains them.
    """
    if method_class(config.method.name) is Method:
        what = f"{config.method.name} weights are an encoder alone, without heads or a classifier"
        hint = "train a classifier with `finetune()`, or a method from these weights with `init`"
        raise UsageError(what, "method.name", hint)
    check_reads(config)
    torch.manual_seed(config.seed)
    towers = [fresh_encoder(config)]
    if config.text_encoder:
        towers.append(fresh_text_encoder(config))
    if load_start:
        load_start_weights(towers, config, told)
    section = completed_section(config, facts)
    build: Callable[..., Method] = method_class(section.name)
    return place(build(section, *towers), config, device)


def fresh_encoder(config: Config) -> nn.Module:
    """Return the config's encoder with fresh weights, for images of its size or for texts.

    Raises:
        ConfigError: If a setting or the image size does not fit it.
    """
    if family_of(config.encoder).reads == "image":
        return build_encoder(config.encoder, config.data.pixels.image_size)
    if config.encoder.vocabulary is None and config.tokenizer:  # it is not made yet
        most = {"vocabulary": config.tokenizer.size}
        return build_encoder(config.encoder.model_copy(update=most))
    return build_encoder(config.encoder)


def check_reads(config: Config) -> None:
    """Raise ConfigError unless the method learns from what the encoder reads."""
    reads, known = family_of(config.encoder).reads, section_of(config).reads
    if reads not in known:
        ours = " and ".join(NOUNS[column][1] for column in sorted(known))
        what = f"{config.method.name} learns from {ours}, and {config.encoder.name} reads "
        hint = "use bert-2-128-2 or roberta-2-128-2" if "text" in known else "use resnet18"
        raise ConfigError(what + NOUNS[reads][1], "encoder.name", hint)


def fresh_text_encoder(config: Config) -> nn.Module:
    """Return the config's second encoder with fresh weights.

    Raises:
        ConfigError: If a setting does not fit it.
    """
    with told_of("text_encoder"):
        return build_encoder(known_text_encoder(config))


@told_of("text_encoder")
def known_text_encoder(config: Config) -> EncoderConfig:
    """Return the settings of a config's second encoder; the tokenizer tells its vocabulary.

    Raises:
        ConfigError: If it reads no sentences.
    """
    wanted = config.text_encoder
    assert wanted is not None
    if (reads := family_of(wanted).reads) != "text":
        what = f"{wanted.name} reads {NOUNS[reads][1]}, and text_encoder is to read sentences"
        raise ConfigError(what, "text_encoder.name", "use one such as clip-text-2-64-4")
    if wanted.vocabulary is None:
        made_later = config.tokenizer if config.tokenizer and not config.tokenizer.digest else None
        most = made_later.size if made_later else tokenizer_of(config).vocabulary
        wanted = wanted.model_copy(update={"vocabulary": most})
    return wanted


def load_start_weights(
    towers: Sequence[nn.Module], config: Config, told: Callable[[str], object]
) -> None:
    """Load the weights that each encoder's config names, if any, and tell what is to be said.

    Args:
        towers: The encoder, and that of texts where the config has one.
        config: It names the weights.
        told: Called with a sentence.

    Raises:
        SslError: If they do not fit, or are a model of the hub that is not on this machine and may
            not be fetched.
    """
    configs = {"encoder": config.encoder, "text_encoder": config.text_encoder}
    for encoder, (field, wanted) in zip(towers, configs.items(), strict=False):
        if not (wanted and (spec := wanted.weights)):
            continue
        path = located(spec, download=config.data.download)
        fresh = "head." if family_of(wanted).reads == "text" else ""  # that of a sentence
        with told_of(field):
            report = load_encoder_weights(encoder, path, fresh=fresh)
        which = "the encoder of texts" if field == "text_encoder" else "the encoder"
        said = f"; {report.note}" if report.note else ""
        told(f"{which} starts from {spec}, {len(report.loaded)} tensors{said}; all else is fresh")


def place(module: ModuleT, config: Config, device: torch.device | str) -> ModuleT:
    """Move a module to the device, in the memory format that the config asks for."""
    layout = torch.channels_last if config.train.channels_last else torch.contiguous_format
    return module.to(device=device).to(memory_format=layout)


def load_encoder(checkpoint: Checkpoint, device: torch.device) -> nn.Module:
    """Rebuild a checkpoint's encoder with its weights.

    Raises:
        CheckpointError: If its tensors do not fit the config it carries.
    """
    config, weights = checkpoint.config, checkpoint.tensors("encoder.")
    with torch.device("meta"):  # an altered config may describe a network larger than the memory
        described = fresh_encoder(config)
    check_weights(described, weights, str(checkpoint.path))
    encoder = fresh_encoder(config)
    encoder.load_state_dict(weights)
    return place(encoder, config, device).eval()


def load_read_out(checkpoint: Checkpoint, features: str, device: torch.device) -> nn.Module:
    """Rebuild a checkpoint's encoder with what evaluations read out of it.

    Raises:
        ConfigError: If there is nothing of that name.
        CheckpointError: If its tensors do not fit the config it carries.
    """
    if features == "head" or features in TOWERS:
        return method_read_out(load_method(checkpoint, device), features)
    return read_out(load_encoder(checkpoint, device), features).eval()


def method_read_out(method: Method, features: str) -> nn.Module:
    """Return what evaluations read out of a method, in its mode.

    Raises:
        SslError: If there is nothing of that name.
    """
    if features in TOWERS:
        return tower_of(method, "image" if features == TOWERS[0] else "text")
    head = method.projector if isinstance(method, HasProjector) else None
    head = None if isinstance(head, nn.Identity) else head
    return read_out(method.encoder, features, head)


def tower_of(method: Method, column: Column) -> nn.Module:
    """Return one of a method's towers in the method's mode, by the column that it reads.

    Raises:
        UsageError: If the method has no such tower.
    """
    towers = method.towers()
    if column not in towers:
        what = f"{type(method).__name__} has no tower that reads {NOUNS[column][1]}"
        hint = f"it has {', '.join(towers)}; clip and siglip train image and text"
        raise UsageError(what, "tower", hint)
    return towers[column].train(method.training)


def fresh_read_out(
    config: Config, features: str, device: torch.device, facts: DataFacts
) -> nn.Module:
    """Return what `load_read_out` does, with the fresh weights that the config's seed decides.

    Raises:
        SslError: If there is nothing of that name.
    """
    if features == "head" or features in TOWERS:
        return method_read_out(build_method(config, device, facts).eval(), features)
    torch.manual_seed(config.seed)
    return read_out(place(fresh_encoder(config), config, device), features).eval()


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
