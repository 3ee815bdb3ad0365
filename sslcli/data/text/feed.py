"""From rows of texts to tokens on the device."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sslcli.config.views import RepeatConfig, TextViewConfig
from sslcli.data.batch import Batch, Tokens
from sslcli.data.counter import uniform
from sslcli.data.feed import Lap, Stock
from sslcli.data.sources.base import Source
from sslcli.data.sources.captions import pick
from sslcli.data.staging import sent
from sslcli.data.text.repetition import draws, longest_repeated, repeat_tokens, repeat_words
from sslcli.data.text.tokenizer import Tokenizer, padded
from sslcli.data.unreadable import Bad, refuse_empty
from sslcli.data.waiting import Waiting

Place = tuple[int, int]  # a row and the number of one of its sentences, from 1 on
_AT_ONCE = 4096  # texts that are tokenised at once where all are
_CAPTION = 225  # stream of the counter, of which nothing else draws


class TextViews(NamedTuple):
    """A tokenizer, groups of views of one recipe, and the seed of what they draw.

    Attributes:
        positions: The longest text that the encoder takes, in tokens; None where it takes any.
    """

    tokenizer: Tokenizer
    configs: Sequence[TextViewConfig]
    seed: int = 0
    positions: int | None = None

    @property
    def longest(self) -> int:
        """Tokens that evaluation keeps of a text: all that the encoder takes, or a view."""
        return self.positions or max(config.max_length for config in self.configs)


class Tokenised:
    """Tokenise texts in this process as they are needed, each once.

    Args:
        source: Data with texts.
        views: What is made of each text.
        device: Where tokens are needed.
    """

    mode = "tokenised as needed"
    workers = held = 0

    def __init__(self, source: Source, views: TextViews, device: torch.device) -> None:
        refuse_empty(source)
        self.source, self.views, self.device, self.bad = source, views, device, Bad()
        self._waiting = Waiting(device)
        self._kept: dict[int, dict[Place, np.ndarray]] = {}  # by length, then by row and sentence
        self._counts: dict[int, int] = {}  # of each image's captions

    @property
    def waited(self) -> float:
        """Seconds in which the device has waited for texts."""
        return self._waiting.seconds

    def remedy(self, machine_share: int) -> str:
        """Return what to do when texts are waited for, in one sentence."""
        ways = "use a faster disk, or a smaller texts.max_length"
        return f"texts are read and tokenised between steps: {ways}"

    def made_at_once(self, size: int) -> int:
        """Return 1: each batch is made by itself."""
        return 1

    def stock(self, size: int) -> Stock:
        """Return the memory of a batch's tokens, and of the next one's beside them."""
        tokens = sum(text.ids.nbytes + text.mask.nbytes for text in self.example(1).texts)
        return Stock(size * tokens, 2 * size * tokens)

    def feed(self, batches: Sequence[np.ndarray], epoch: int) -> Iterator[Batch]:
        """Yield the texts of each batch of rows."""
        for rows in map(torch.from_numpy, batches):
            texts = self.texts(rows, epoch)
            (places,) = sent([rows], self.device)
            yield Batch([], places, texts=texts)

    def texts(self, rows: Tensor, epoch: int) -> list[Tokens]:
        """Return the texts of some rows, [B] int64 on the host; one a view, on the device."""
        (found,) = self._waiting.over(self._moved(self._encoded(rows, epoch)) for _ in range(1))
        return found

    def lengths(self) -> np.ndarray:
        """Tokenise all rows and return the tokens of each in its longest view, [N] int64."""
        view = max(self.views.configs, key=lambda each: each.max_length)
        rows = torch.arange(len(self.source)).split(_AT_ONCE)
        return np.concatenate([self._cut(part, view, 0).mask.sum(dim=1).numpy() for part in rows])

    def example(self, count: int) -> Batch:
        """Return as many texts of the greatest length."""
        texts = []
        for view in self.views.configs:
            longest = view.max_length
            longest = longest_repeated(view.repeat, longest) if view.repeat else longest
            ids = torch.zeros(count, longest, dtype=torch.int64, device=self.device)
            texts += [Tokens(ids, torch.ones_like(ids, dtype=torch.bool))] * view.count
        return Batch([], torch.zeros(count, dtype=torch.int64, device=self.device), texts=texts)

    def timed(self, rows: np.ndarray, lap: Lap) -> Batch:
        """Make one batch of the first epoch; its phases are "tokenise" and "transfer"."""
        encoded = self._encoded(torch.from_numpy(rows), 0)
        lap("tokenise")
        texts = self._moved(encoded)
        (places,) = sent([torch.from_numpy(rows)], self.device)
        lap("transfer")
        return Batch([], places, texts=texts)

    def _encoded(self, rows: Tensor, epoch: int) -> list[tuple[Tokens, int]]:
        """Return tokens on the host, each with the number of views that are these."""
        found: list[tuple[Tokens, int]] = []
        for view in self.views.configs:
            if view.repeat is None:
                found.append((self._cut(rows, view, epoch), view.count))
                continue
            first = sum(count for _, count in found)
            found += [
                (self._repeated(rows, view, view.repeat, (epoch, first + number)), 1)
                for number in range(view.count)
            ]
        return found

    def _chosen(self, rows: Tensor, view: TextViewConfig, epoch: int) -> list[Place]:
        """Return the sentence of each row: of an image one of its captions, drawn each epoch."""
        if "image" not in self.source.columns:
            return [(row, view.sentence) for row in rows.tolist()]
        shares = uniform(self.views.seed, epoch, rows, 0, _CAPTION, 1).flatten().tolist()
        pairs = list(zip(rows.tolist(), shares, strict=True))
        for row, _ in pairs:
            if row not in self._counts:
                self._counts[row] = len(self.source.sentences(row))
        return [(row, pick(range(1, self._counts[row] + 1), share)) for row, share in pairs]

    def _cut(self, rows: Tensor, view: TextViewConfig, epoch: int) -> Tokens:
        """Return the tokens of some rows as they are; each sentence's are made once."""
        kept = self._kept.setdefault(view.max_length, {})
        tokenizer, wanted = self.views.tokenizer, self._chosen(rows, view, epoch)
        if missing := [each for each in dict.fromkeys(wanted) if each not in kept]:
            texts = [sentence_of(self.source, *each) for each in missing]
            made = tokenizer.encode(texts, view.max_length)
            pairs = zip(made.ids.numpy().astype(np.int32), made.mask.numpy(), strict=True)
            kept.update(zip(missing, (ids[mask] for ids, mask in pairs), strict=True))
        return padded([kept[each] for each in wanted], tokenizer.padding)

    def _repeated(
        self, rows: Tensor, view: TextViewConfig, repeat: RepeatConfig, drawn_for: tuple[int, int]
    ) -> Tokens:
        """Return some rows with repetitions, of an epoch and of the view of a number."""
        tokenizer, (epoch, number) = self.views.tokenizer, drawn_for
        if repeat.unit == "subword":
            tokens = self._cut(rows, view, epoch)
            numbers = draws(self.views.seed, epoch, rows, number, tokens.ids.shape[1])
            specials = tokenizer.specials
            return repeat_tokens(tokens, repeat, specials, numbers, tokenizer.padding)
        texts = [sentence_of(self.source, *each) for each in self._chosen(rows, view, epoch)]
        longest = max(text.count(" ") + 1 for text in texts)
        numbers = draws(self.views.seed, epoch, rows, number, longest)
        pairs = zip(texts, numbers, strict=True)
        longer = [repeat_words(text, repeat, drawn) for text, drawn in pairs]
        return tokenizer.encode(longer, view.max_length)

    def _moved(self, encoded: Sequence[tuple[Tokens, int]]) -> list[Tokens]:
        """Return the tokens of each view on the device; those of a group are the same."""
        moved = (
            (Tokens(*sent([each.ids, each.mask], self.device)), times) for each, times in encoded
        )
        return [tokens for tokens, times in moved for _ in range(times)]


def sentence_of(source: Source, row: int, number: int) -> str:
    """Return the sentence of a number, from 1 on, of a row."""
    return source.text(row) if number == 1 else source.sentences(row)[number - 1]
