"""Say what is worth knowing of sentences before a method trains on them."""

from collections import Counter

from sslcli.config.schema import Config
from sslcli.data.sources.base import Source
from sslcli.data.sources.builtin import NAMES
from sslcli.listener import Listener
from sslcli.methods.custom import section_of

_FROM_RANDOM = (
    "the encoder starts from random weights, and the sentences are real: such a network tells its "
    "sentences apart by accidental features, and can end below the untrained one. Start from "
    "weights with `init`, or pre-train with `method` mlm first"
)


def warn_of_sentences(config: Config, source: Source, listener: Listener) -> None:
    """Warn of a start from nothing on real text, and of equal sentences.

    Args:
        config: Of a new run.
        source: The training part of the data.
        listener: Who is told.
    """
    section = section_of(config)
    if section.reads != {"text"} or not section.contrasts_sentences:
        return
    if not config.encoder.weights and config.data.source not in NAMES:
        listener.warn(_FROM_RANDOM)
    counts = Counter(map(source.sentences, range(len(source))))
    if repeated := len(source) - len(counts):
        rows, size = len(source), config.train.batch_size
        pairs = sum(count * (count - 1) / 2 for count in counts.values())
        a_batch = pairs * size * (size - 1) / (rows * (rows - 1))
        what = f"{repeated:,} of {rows:,} sentences repeat another, {a_batch:.2g} pairs a batch"
        listener.note(f"{what}, which the loss takes for different ones; data.unique drops them")
