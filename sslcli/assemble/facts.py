"""Facts about a config's data: those that methods need, and those that a checkpoint keeps."""

from typing import Any

from sslcli.config.schema import Config
from sslcli.config.section import DataFacts
from sslcli.data.sources.open import Source
from sslcli.data.sources.places import absolute_paths
from sslcli.data.sources.splits import Splits
from sslcli.engine.checkpoint import Checkpoint
from sslcli.evaluate.learned import LEARNED, Learned, learned_of
from sslcli.methods.custom import section_of


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


def remembered_facts(checkpoint: Checkpoint) -> DataFacts:
    """Return what a checkpoint knows of the data it was trained on."""
    return DataFacts(rows=checkpoint.facts.get("data", {}).get("images"))
