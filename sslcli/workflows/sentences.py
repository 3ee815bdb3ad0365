"""Say what is worth knowing of texts before a method trains on them."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from sslcli import assemble
from sslcli.config.schema import Config
from sslcli.config.section import NOUNS
from sslcli.data.sources.base import Source
from sslcli.data.sources.builtin import NAMES
from sslcli.data.sources.captioned import with_texts
from sslcli.listener import Listener
from sslcli.methods.custom import section_of

if TYPE_CHECKING:
    from sslcli.workflows.run import Run

_FROM_RANDOM = (
    "the encoder starts from random weights, and the sentences are real: such a network tells its "
    "sentences apart by accidental features, and can end below the untrained one. Start from "
    "weights with `init`, or pre-train with `method` mlm first"
)


_LOOKED_AT = 20_000  # rows whose texts are compared and measured, evenly of all


def tell_of_texts(config: Config, source: Source, listener: Listener) -> None:
    """Warn of a start from nothing on real text, and tell of equal texts and of cut ones.

    Args:
        config: Of a new run.
        source: The training part of the data.
        listener: Who is told.
    """
    section = section_of(config)
    if "text" not in section.reads:
        return
    is_real = config.data.source not in NAMES
    if section.contrasts_sentences and not config.encoder.weights and is_real:
        listener.warn(_FROM_RANDOM)
    rows = np.unique(np.linspace(0, len(source) - 1, _LOOKED_AT).astype(int)).tolist()
    texts = [source.sentences(row) for row in rows]
    if section.contrasts_sentences or section.two_towers:
        _tell_of_equal(config, texts, len(source), listener)
    longest = max(view.max_length for view in config.texts)
    each = [text for row in texts for text in row]
    if cut := assemble.count_cut(config, each, longest):
        of = _counted(each, texts, source)
        listener.warn(f"{cut:,} of {of} are longer than {longest} tokens and cut")


def cut_captions(run: "Run") -> tuple[int, int] | None:
    """Return how many captions of a run's data it cuts, and at how many tokens.

    None where it reads no texts.
    """
    if "text" not in section_of(run.config).reads:
        return None
    source, _ = with_texts(run.open(run.config.data.source))
    texts = [text for row in range(len(source)) for text in source.sentences(row)]
    return assemble.count_cut(run.config, texts), assemble.text_views(run.config).longest


def _tell_of_equal(
    config: Config, texts: Sequence[tuple[str, ...]], total: int, listener: Listener
) -> None:
    """Tell how many rows repeat another one, of those that were looked at."""
    is_caption = section_of(config).two_towers
    counts = Counter(row[0] if is_caption else row for row in texts)
    if not (repeated := len(texts) - len(counts)):
        return
    rows, size = len(texts), config.train.batch_size
    pairs = sum(count * (count - 1) / 2 for count in counts.values())
    a_batch = pairs * size * (size - 1) / (rows * (rows - 1))
    what, wrong = "sentences", "different ones; data.unique drops them"
    if is_caption:
        what, wrong = "images' first captions", "wrong answers to each other"
    of = f"{rows:,} {what}" + (f" of {total:,}" if total > rows else "")
    said = f"{repeated:,} of {of} repeat another, {a_batch:.2g} pairs a batch"
    listener.note(f"{said}, which the loss takes for {wrong}")


def _counted(each: Sequence[str], texts: Sequence[tuple[str, ...]], source: Source) -> str:
    """Say how many texts were looked at."""
    some = f" of {len(texts):,} among {len(source):,} rows" if len(texts) < len(source) else ""
    return f"{len(each):,} {NOUNS['text'][1]}{some}"
