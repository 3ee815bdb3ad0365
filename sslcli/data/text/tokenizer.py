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
    """

    vocabulary: int
    digest: str

    def encode(self, texts: Sequence[str], max_length: int) -> Tokens:
        """Return B texts, each cut to `max_length` numbers, padded to the longest."""


class ByteTokenizer:
    """Number a text's bytes in UTF-8 from 1 to 256; 0 pads."""

    vocabulary = 257
    digest = "bytes-1"

    def encode(self, texts: Sequence[str], max_length: int) -> Tokens:
        """Return the bytes of each text.

        Args:
            texts: B sentences.
            max_length: Bytes that are kept of each.

        Returns:
            ids and mask, [B, L], on the CPU; L is the longest text's length, at least 1.
        """
        cut = [np.frombuffer(text.encode()[:max_length], np.uint8) for text in texts]
        lengths = np.array([len(each) for each in cut])
        mask = np.arange(max(1, lengths.max(initial=0))) < lengths[:, None]  # [B, L]
        ids = np.zeros(mask.shape, dtype=np.int64)
        ids[mask] = np.concatenate(cut) + np.int64(1)
        return Tokens(torch.from_numpy(ids), torch.from_numpy(mask))
