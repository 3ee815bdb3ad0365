"""Read the values of options that are a small language of their own, such as a list of seeds."""

import math
import re
from collections.abc import Sequence

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


def parse_radii(given: Sequence[str] | None, option: str, levels: int) -> tuple[float, ...] | None:
    """Read radii such as ["2,4", "8"], rising and without repetition; "none" is none.

    Args:
        given: The value of the option; None if it is not given.
        option: Its name, for errors.
        levels: What 255 of 255 levels are in the option's unit: 255, or 1.

    Raises:
        UsageError: If one is no positive number, or surely meant in another unit.
    """
    if given is None:
        return None
    if list(given) == ["none"]:
        return ()
    found = {_radius(text.strip(), option, levels) for text in ",".join(given).split(",")}
    return tuple(sorted(found))


def _radius(text: str, option: str, levels: int) -> float:
    """Read one radius; "8/255" is 8 levels whatever the option's unit."""
    number, slash, _ = text.partition("/")
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    is_fraction = text == f"{number}/255"
    if not (math.isfinite(value) and value > 0) or (slash and not is_fraction):
        raise UsageError(f"{text!r} is no radius", option, "write 2,4,8, or none")
    if levels == 255 and value < 1 and not is_fraction:
        what = f"{text} would be {text}/255, less than one level of an image"
        hint = f"write {255 * value:.3g} for {text} of images in 0 to 1; {text}/255 if you mean it"
        raise UsageError(what, option, hint)
    if levels == 255 and value > 255:
        raise UsageError(f"{text}/255 is more than images have", option, "write 2,4,8, or none")
    return value * (levels / 255) if is_fraction else value


def parse_refinements(given: Sequence[str] | None) -> tuple[int, ...]:
    """Read numbers of refinement steps such as ["0,1", "10"].

    Raises:
        UsageError: If one is no number of steps.
    """
    texts = [text.strip() for text in ",".join(given).split(",")] if given else []
    for text in texts:
        if not text.isdecimal():
            raise UsageError(f"{text!r} is no number of steps", "--refine", "write 0,1,10")
    return tuple(sorted({int(text) for text in texts}))


def parse_shots(text: str | None) -> tuple[int, ...]:
    """Read numbers of labelled images such as "1,2,5,10", in ascending order; none for None.

    Raises:
        UsageError: If one is no number above 0.
    """
    parts = [part.strip() for part in text.split(",")] if text is not None else []
    for part in parts:
        if not part.isdecimal() or not 0 < int(part) < 10**9:
            raise UsageError(f"{part!r} is no number of images", "--shots", "write 1,2,5,10")
    return tuple(sorted({int(part) for part in parts}))


def parse_rates(text: str | None) -> tuple[float, ...]:
    """Read learning rates such as "0.01,0.1,1", in the order given; none for None.

    Raises:
        UsageError: If one is no number above 0.
    """
    rates = []
    for part in text.split(",") if text is not None else []:
        try:
            rates.append(float(part))
        except ValueError:
            rates.append(math.nan)
        if not (math.isfinite(rates[-1]) and rates[-1] > 0):
            raise UsageError(f"{part.strip()!r} is no rate", "--rates", "write 0.01,0.1,1")
    return tuple(rates)


def parse_names(given: Sequence[str] | None) -> tuple[str, ...] | None:
    """Read names; "none" alone is none of them, and None is whatever is left open."""
    return () if given and list(given) == ["none"] else tuple(given or ()) or None
