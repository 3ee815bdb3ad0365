"""Facts about a config's data: those that methods need, and those that a checkpoint keeps."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from sslcli.assemble.reading import tokenizer_of
from sslcli.config.schema import Config
from sslcli.config.section import DataFacts, MethodSection
from sslcli.data.sources.open import Source
from sslcli.data.sources.places import absolute_paths
from sslcli.data.sources.splits import Splits
from sslcli.engine.checkpoint import Checkpoint, is_bare, load_checkpoint
from sslcli.evaluate.learned import LEARNED, Learned, learned_of
from sslcli.methods.custom import section_of
from sslcli.nn.foreign.files import digest_of, is_index, is_pickle, weights_file
from sslcli.nn.foreign.hub import PREFIX, located

# Among a checkpoint's facts: the weights that its encoder started from, and that of texts.
INIT, INIT_TEXT = "init", "init_text"


def completed_section(config: Config, facts: DataFacts | None = None) -> MethodSection:
    """Return the config's method section with what only the data can tell filled in.

    Args:
        config: It knows the pixels, the views and the vocabulary.
        facts: What else is known of the data, by `facts_of` or `remembered_facts`.

    Raises:
        ConfigError: If the method cannot learn from such data.
    """
    section = section_of(config)
    pixels = config.data.pixels if "image" in section.reads else None
    views = sum(group.count for group in config.views)
    known = replace(facts or DataFacts(), pixels=pixels, views=views)
    return section.complete(_with_tokens(known, config) if "text" in section.reads else known)


def _with_tokens(facts: DataFacts, config: Config) -> DataFacts:
    """Add what the tokenizer tells; of one that is not made yet the most numbers it may use."""
    if config.tokenizer and not config.tokenizer.digest:
        return replace(facts, vocabulary=config.encoder.vocabulary or config.tokenizer.size)
    tokenizer = tokenizer_of(config)
    return replace(
        facts,
        vocabulary=tokenizer.vocabulary,
        specials=tokenizer.specials,
        mask_token=tokenizer.mask_token,
    )


def facts_of(source: Source) -> DataFacts:
    """Return the facts about the training data that methods may need."""
    classes = () if source.labels is None else source.class_names
    return DataFacts(source.name, len(source), tuple(classes))


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


def start_of(config: Config) -> tuple[dict[str, Any], Checkpoint | None]:
    """Return where the weights that encoders start from came from, and that of images' own run.

    Raises:
        SslError: If they are not there.
    """
    text = config.text_encoder.weights if config.text_encoder else None
    facts, parent = _origin(config.encoder.weights, config, INIT)
    return facts | _origin(text, config, INIT_TEXT)[0], parent


def _origin(spec: str | None, config: Config, key: str) -> tuple[dict[str, Any], Checkpoint | None]:
    """Return where some weights came from, below a key, and their run if it is ours."""
    if not spec:
        return {}, None
    path = located(spec, download=config.data.download)
    file = weights_file(path)
    source = spec if spec.startswith(PREFIX) else str(path.absolute())
    facts = {key: {"source": source, "sha256": digest_of(file)}}
    return facts, load_checkpoint(file) if is_ours(file) else None


def is_ours(file: Path) -> bool:
    """Say whether a file of weights is none of another code; it may still be damaged."""
    return not (is_pickle(file) or is_index(file) or is_bare(file))


def remembered_facts(checkpoint: Checkpoint) -> DataFacts:
    """Return what a checkpoint knows of the data it was trained on."""
    data = checkpoint.facts.get("data", {})
    classes = tuple(data["classes"]) if "classes" in data else None
    return DataFacts(data.get("name", ""), data.get("images"), classes)
