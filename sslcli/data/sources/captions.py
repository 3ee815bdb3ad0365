"""The grammar of the built-in scenes' captions, and the words that other built-in texts share."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
HUES = {  # red, green, blue
    "red": (1.0, 0.0, 0.0),
    "orange": (1.0, 0.5, 0.0),
    "yellow": (1.0, 1.0, 0.0),
    "green": (0.0, 1.0, 0.0),
    "cyan": (0.0, 1.0, 1.0),
    "blue": (0.0, 0.0, 1.0),
    "purple": (0.5, 0.0, 1.0),
    "pink": (1.0, 0.0, 0.75),
}
INKS, GROUNDS = ("light grey", "white"), ("dark grey", "grey")
_SIZES = ("small", "large")
_MIDDLE = 1.5  # pixels from the middle that still count as there
_PLACES = (
    ("towards the top left", "towards the top", "towards the top right"),
    ("towards the left", "in the middle", "towards the right"),
    ("towards the bottom left", "towards the bottom", "towards the bottom right"),
)
_TEMPLATES = (  # some leave out what would tell a picture from most others without its digit
    "a {size} {ink} {digit} {place} of {ground} ground",
    "the digit {digit}, {ink} on {ground} ground",
    "a {ink} {digit}",
    "the digit {digit} {place}",
    "a {size} {digit}",
)


@dataclass(frozen=True)
class Described:
    """What a caption says of a scene.

    Attributes:
        digit: 0 to 9.
        size: Of the range of sizes, 0 to 1.
        right: How far the digit is to the right of the picture's middle, in pixels.
        below: The same downwards.
        ink: Name of the digit's tone or hue.
        ground: The same of the ground.
        wording: A number in [0, 1) that chooses among ways to say the same.
    """

    digit: int
    size: float
    right: float
    below: float
    ink: str
    ground: str
    wording: float


def caption(scene: Described) -> str:
    """Return the sentence that describes a scene."""
    return pick(_TEMPLATES, scene.wording).format(
        digit=DIGITS[scene.digit],
        size=pick(_SIZES, scene.size),
        place=_PLACES[_third(scene.below)][_third(scene.right)],
        ink=scene.ink,
        ground=f"{'an' if scene.ground[0] in 'aeiou' else 'a'} {scene.ground}",
    )


def pick(choices: Sequence[T], share: float) -> T:
    """Return the choice that lies at a share, 0 to 1, of them."""
    return choices[min(int(share * len(choices)), len(choices) - 1)]


def _third(offset: float) -> int:
    """Return 0 before the middle, 1 there, 2 beyond it."""
    return 1 + (offset > _MIDDLE) - (offset < -_MIDDLE)
