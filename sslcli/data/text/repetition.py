"""ESimCSE's repetition: some tokens of a text stand twice (Wu et al. 2022, arXiv:2109.04380).

A text's draw is a function of (seed, epoch, row, view), as those of images are.
"""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from sslcli.config.views import RepeatConfig
from sslcli.data.batch import Tokens
from sslcli.data.counter import uniform
from sslcli.data.text.tokenizer import padded

_STREAM = 223  # of the counter, of which nothing else draws
_MOST = 10  # the official code draws below this


def draws(seed: int, epoch: int, rows: Tensor, view: int, longest: int) -> np.ndarray:
    """Return the numbers in [0, 1) that decide a text's repetitions, [B, 1 + longest]."""
    return uniform(seed, epoch, rows, view, _STREAM, 1 + longest).numpy()


def most_repeated(config: RepeatConfig, length: int) -> int:
    """Return the most repetitions of a text of so many units."""
    share = int(config.rate * length)
    if config.draw == "paper":
        return min(max(2, share), length)
    if config.unit == "word":
        return max(0, min(_MOST, length, max(2, share)) - 1)
    return max(0, min(_MOST, share) - 1)


def repeated_places(
    config: RepeatConfig, length: int, allowed: Sequence[int], numbers: np.ndarray
) -> set[int]:
    """Return which units of a text are repeated.

    Paper: k is uniform over 0 to max(2, int(rate * length)). Code, of sub-words: over 0 to
    min(10, int(rate * length)) - 1; of words: over 0 to min(10, length, max(2, int(...))) - 1.

    Args:
        config: Rate and draw.
        length: Units of the text; the code counts the start and the end of sub-words.
        allowed: Places that may be repeated.
        numbers: In [0, 1): one for k, then one for each allowed place at least.
    """
    most = min(most_repeated(config, length), len(allowed))
    count = int(numbers[0] * (most + 1))
    order = np.argsort(numbers[1 : 1 + len(allowed)], kind="stable")
    return {allowed[place] for place in order[:count]}


def repeat_tokens(
    tokens: Tokens,
    config: RepeatConfig,
    specials: Sequence[int],
    numbers: np.ndarray,
    padding: int = 0,
) -> Tokens:
    """Return texts with some of their tokens repeated, each right behind itself.

    The paper's N counts the tokens that may be repeated, the code's all of a text.

    Args:
        tokens: Texts, [B, L] on the host, cut already.
        config: Rate and draw.
        specials: Numbers that are never repeated.
        numbers: From `draws`, a row a text.
        padding: The number that pads.
    """
    texts = [ids[kept] for ids, kept in zip(tokens.ids.numpy(), tokens.mask.numpy(), strict=True)]
    longer = []
    for text, drawn in zip(texts, numbers, strict=True):
        allowed = np.flatnonzero(~np.isin(text, specials)).tolist()
        length = len(allowed) if config.draw == "paper" else len(text)
        chosen = repeated_places(config, length, allowed, drawn)
        longer.append(np.repeat(text, [1 + (place in chosen) for place in range(len(text))]))
    return padded(longer, padding)


def repeat_words(text: str, config: RepeatConfig, numbers: np.ndarray) -> str:
    """Return a text with some of the words between its spaces repeated; see `repeated_places`.

    The code never repeats the last word.
    """
    words = text.split(" ")
    allowed = list(range(len(words) - (config.draw == "code")))
    chosen = repeated_places(config, len(words), allowed, numbers)
    return " ".join(word for at, each in enumerate(words) for word in [each] * (1 + (at in chosen)))


def longest_repeated(config: RepeatConfig, max_length: int) -> int:
    """Return the most tokens that a text of at most `max_length` may have with repetitions."""
    if config.unit == "word":
        return max_length  # words are repeated before the text is cut
    return max_length + most_repeated(config, max_length)
