"""Read the values of options that are a small language of their own, such as a list of seeds."""

import re

from sslcli.errors import UsageError

_MOST_SEEDS = 1000  # a typing error such as 0-99999999 must not run for years


def parse_seeds(text: str | None) -> tuple[int, ...]:
    """Read seeds such as "0-4" or "0,3,7", ranges inclusive, in the order given; none for None.

    Raises:
        UsageError: If `text` is no such list, repeats a seed, or asks for more than 1,000.
    """
    if text is None:
        return ()
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,9})\s*(?:-\s*(\d{1,9})\s*)?", part)
        if not match:
            raise _wrong(f"{text!r} is no list of seeds")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise _wrong(f"the range {part.strip()!r} runs backwards")
        if len(seeds) + last - first >= _MOST_SEEDS:
            raise _wrong(f"{text!r} asks for more than {_MOST_SEEDS} seeds")
        seeds.extend(range(first, last + 1))
    if len(set(seeds)) < len(seeds):
        raise _wrong(f"{text!r} repeats a seed")
    return tuple(seeds)


def _wrong(what: str) -> UsageError:
    return UsageError(what, where="--seeds", hint="write them as 0-4 or 0,3,7")
