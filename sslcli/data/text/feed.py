"""From rows of texts to tokens on the device."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sslcli.config.views import TextViewConfig
from sslcli.data.batch import Batch, Tokens
from sslcli.data.feed import Lap, Stock
from sslcli.data.sources.base import Source
from sslcli.data.staging import sent
from sslcli.data.text.tokenizer import Tokenizer
from sslcli.data.unreadable import Bad, refuse_empty
from sslcli.data.waiting import Waiting


class TextViews(NamedTuple):
    """A tokenizer, and groups of views of one recipe."""

    tokenizer: Tokenizer
    configs: Sequence[TextViewConfig]

    @property
    def longest(self) -> int:
        """Tokens that evaluation keeps of a text: as many as the longest view does."""
        return max(config.max_length for config in self.configs)


class Tokenised:
    """Tokenise texts in this process, as they are needed.

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
            texts = self.texts(rows)
            (places,) = sent([rows], self.device)
            yield Batch([], places, texts=texts)

    def texts(self, rows: Tensor) -> list[Tokens]:
        """Return the texts of some rows, [B] int64 on the host; one a view, on the device."""
        (found,) = self._waiting.over(self._moved(self._encoded(rows)) for _ in range(1))
        return found

    def example(self, count: int) -> Batch:
        """Return as many texts of the greatest length."""
        texts = []
        for view in self.views.configs:
            ids = torch.zeros(count, view.max_length, dtype=torch.int64, device=self.device)
            texts += [Tokens(ids, torch.ones_like(ids, dtype=torch.bool))] * view.count
        return Batch([], torch.zeros(count, dtype=torch.int64, device=self.device), texts=texts)

    def timed(self, rows: np.ndarray, lap: Lap) -> Batch:
        """Make one batch; its phases are "tokenise" and "transfer"."""
        encoded = self._encoded(torch.from_numpy(rows))
        lap("tokenise")
        texts = self._moved(encoded)
        (places,) = sent([torch.from_numpy(rows)], self.device)
        lap("transfer")
        return Batch([], places, texts=texts)

    def _encoded(self, rows: Tensor) -> list[Tokens]:
        """Return the tokens of each group on the host."""
        texts = [self.source.text(row) for row in rows.tolist()]
        return [self.views.tokenizer.encode(texts, v.max_length) for v in self.views.configs]

    def _moved(self, groups: Sequence[Tokens]) -> list[Tokens]:
        """Return the tokens of each view on the device; those of a group are the same."""
        pairs = zip(groups, self.views.configs, strict=True)
        moved = ((Tokens(*sent([g.ids, g.mask], self.device)), view.count) for g, view in pairs)
        return [tokens for tokens, count in moved for _ in range(count)]
