"""Turn sentences into numbers: what a tokenizer must do, and one that takes bytes."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import torch

from sslcli.data.batch import Tokens


@runtime_checkable
class Tokenizer(Protocol):
    """The same text gives the same numbers, whatever it is encoded together with.

    Attributes:
        vocabulary: Numbers there are; each is below it.
        digest: Names the mapping: tokenizers with the same one give the same numbers.
        specials: Numbers that stand for no part of a text, such as its end.
        mask_token: The number that stands for a hidden token; None without one.
        padding: The number that pads.
    """

    vocabulary: int
    digest: str
    padding: int
    specials: tuple[int, ...]
    mask_token: int | None

    def encode(self, texts: Sequence[str], max_length: int) -> Tokens:
        """Return B texts, each cut to `max_length` numbers, padded to the longest."""


class ByteTokenizer:
    """Number a text's bytes in UTF-8 from 1 to 256; 0 pads."""

    vocabulary = 257
    digest = "bytes-1"
    padding = 0
    specials: tuple[int, ...] = ()
    mask_token: int | None = None

    def encode(self, texts: Sequence[str], max_length: int) -> Tokens:
        """Return the bytes of each text.

        Args:
            texts: B sentences.
            max_length: Bytes that are kept of each.

        Returns:
            ids and mask, [B, L], on the CPU; L is the longest text's length, at least 1.
        """
        return padded(
            [[1 + byte for byte in text.encode()[:max_length]] for text in texts], self.padding
        )


def padded(numbers: Sequence[Sequence[int] | np.ndarray], padding: int) -> Tokens:
    """Return B lists of numbers as ids and mask, [B, L]; L is the longest's length, at least 1."""
    lengths = np.array([len(each) for each in numbers])
    mask = np.arange(max(1, lengths.max(initial=0))) < lengths[:, None]  # [B, L]
    ids = np.full(mask.shape, padding, dtype=np.int64)
    ids[mask] = np.concatenate([*numbers, []]).astype(np.int64)
    return Tokens(torch.from_numpy(ids), torch.from_numpy(mask))
