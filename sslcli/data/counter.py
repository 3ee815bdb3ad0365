"""Random numbers without state: each is a hash of its purpose, so no draw shifts another.

A generator that counts (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3") makes
the augmentation of a sample a function of (seed, epoch, row, view): neither workers, processes,
batch composition nor a resume change it.
"""

from hashlib import blake2b

import torch
from torch import Tensor

GOLDEN = -0x61C8864680B583EB  # 2^64 / golden ratio, odd, as a signed 64-bit number


def uniform(
    seed: int, epoch: int, rows: Tensor, view: int | Tensor, stream: int, count: int
) -> Tensor:
    """Draw `count` numbers for each row, the same bits on every device.

    Number j of a row depends neither on `count` nor on the other rows. Integer arithmetic wraps at
    64 bits; the top 24 bits of each word become a float32 exactly.

    Args:
        seed: Seed of the run.
        epoch: Pass over the data.
        rows: Index of each sample in the data set, [B] int64.
        view: Index of the view, one for all rows or [B] int64.
        stream: Purpose of the numbers; streams are independent of each other.
        count: Numbers a row.

    Returns:
        Uniform numbers in [0, 1), [B, count] float32, on the device of `rows`.
    """
    key = blake2b(f"{seed}/{epoch}/{stream}".encode(), digest_size=8).digest()
    state = mix(mix(rows ^ int.from_bytes(key, "little", signed=True)) ^ view)
    steps = torch.arange(1, count + 1, device=rows.device) * GOLDEN
    words = mix(state[:, None] + steps)  # [B, count], SplitMix64 started at `state`
    return _shift(words, 40).float() * 2**-24


def mix(words: Tensor) -> Tensor:
    """Scramble 64-bit words one to one (SplitMix64, Steele et al. 2014; Stafford's variant 13)."""
    words = (words ^ _shift(words, 30)) * -0x40A7B892E31B1A47
    words = (words ^ _shift(words, 27)) * -0x6B2FB644ECCEEE15
    return words ^ _shift(words, 31)


def _shift(words: Tensor, bits: int) -> Tensor:
    """Shift right and fill with zeros, where int64 would copy the sign."""
    return (words >> bits) & ((1 << (64 - bits)) - 1)
