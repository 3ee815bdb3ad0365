"""AutoAugment's policies (Cubuk et al. 2019, arXiv:1805.09501): pairs of operations."""

from typing import NamedTuple


class Operation(NamedTuple):
    """One of a pair: what to do, how often, and how much.

    Attributes:
        kind: One of `KINDS`.
        probability: Of being applied.
        base: The argument is `base` + `amount`: bits that are kept, a threshold or an addition in
            grey levels, degrees, a slope, pixels, or the weight of the image in a blend.
        amount: See `base`.
        signed: Whether `amount` takes either sign with equal chance.
    """

    kind: str
    probability: float
    base: float = 0.0
    amount: float = 0.0
    signed: bool = False


class Policy(NamedTuple):
    """Pairs, each equally likely, and the grey level of what a shift or turn uncovers."""

    pairs: list[tuple[Operation, ...]]
    fill: float


LEVELS = ("posterize", "solarize", "solarize-add", "invert", "autocontrast", "equalize")
BLENDS = ("color", "contrast", "sharpness")
WARPS = ("rotate", "shear-x", "shear-y", "translate-y")
KINDS = ("none", *LEVELS, *BLENDS, *WARPS)


# Operation, probability and level of each pair.
_Level = tuple[str, float, int]

# Table 9 of the paper, as torchvision's `AutoAugmentPolicy.IMAGENET`: levels 0 to 9.
_IMAGENET: tuple[tuple[_Level, _Level], ...] = (
    (("posterize", 0.4, 8), ("rotate", 0.6, 9)),
    (("solarize", 0.6, 5), ("autocontrast", 0.6, 0)),
    (("equalize", 0.8, 0), ("equalize", 0.6, 0)),
    (("posterize", 0.6, 7), ("posterize", 0.6, 6)),
    (("equalize", 0.4, 0), ("solarize", 0.2, 4)),
    (("equalize", 0.4, 0), ("rotate", 0.8, 8)),
    (("solarize", 0.6, 3), ("equalize", 0.6, 0)),
    (("posterize", 0.8, 5), ("equalize", 1.0, 0)),
    (("rotate", 0.2, 3), ("solarize", 0.6, 8)),
    (("equalize", 0.6, 0), ("posterize", 0.4, 6)),
    (("rotate", 0.8, 8), ("color", 0.4, 0)),
    (("rotate", 0.4, 9), ("equalize", 0.6, 0)),
    (("equalize", 0.0, 0), ("equalize", 0.8, 0)),
    (("invert", 0.6, 0), ("equalize", 1.0, 0)),
    (("color", 0.6, 4), ("contrast", 1.0, 8)),
    (("rotate", 0.8, 8), ("color", 1.0, 2)),
    (("color", 0.8, 8), ("solarize", 0.8, 7)),
    (("sharpness", 0.4, 7), ("invert", 0.6, 0)),
    (("shear-x", 0.6, 5), ("equalize", 1.0, 0)),
    (("color", 0.4, 0), ("equalize", 0.6, 0)),
    (("equalize", 0.4, 0), ("solarize", 0.2, 4)),
    (("solarize", 0.6, 5), ("autocontrast", 0.6, 0)),
    (("invert", 0.6, 0), ("equalize", 1.0, 0)),
    (("color", 0.6, 4), ("contrast", 1.0, 8)),
    (("equalize", 0.8, 0), ("equalize", 0.6, 0)),
)
# tensorflow/models official/vision/image_classification/augment.py `policy_v0`: levels 0 to 10.
_V0: tuple[tuple[_Level, _Level], ...] = (
    (("equalize", 0.8, 1), ("shear-y", 0.8, 4)),
    (("color", 0.4, 9), ("equalize", 0.6, 3)),
    (("color", 0.4, 1), ("rotate", 0.6, 8)),
    (("solarize", 0.8, 3), ("equalize", 0.4, 7)),
    (("solarize", 0.4, 2), ("solarize", 0.6, 2)),
    (("color", 0.2, 0), ("equalize", 0.8, 8)),
    (("equalize", 0.4, 8), ("solarize-add", 0.8, 3)),
    (("shear-x", 0.2, 9), ("rotate", 0.6, 8)),
    (("color", 0.6, 1), ("equalize", 1.0, 2)),
    (("invert", 0.4, 9), ("rotate", 0.6, 0)),
    (("equalize", 1.0, 9), ("shear-y", 0.6, 3)),
    (("color", 0.4, 7), ("equalize", 0.6, 0)),
    (("posterize", 0.4, 6), ("autocontrast", 0.4, 7)),
    (("solarize", 0.6, 8), ("color", 0.6, 9)),
    (("solarize", 0.2, 4), ("rotate", 0.8, 9)),
    (("rotate", 1.0, 7), ("translate-y", 0.8, 9)),
    (("shear-x", 0.0, 0), ("solarize", 0.8, 4)),
    (("shear-y", 0.8, 0), ("color", 0.6, 4)),
    (("color", 1.0, 0), ("rotate", 0.6, 2)),
    (("equalize", 0.8, 4), ("equalize", 0.0, 8)),
    (("equalize", 1.0, 4), ("autocontrast", 0.6, 2)),
    (("shear-y", 0.4, 7), ("solarize-add", 0.6, 7)),
    (("posterize", 0.8, 2), ("solarize", 0.6, 10)),
    (("solarize", 0.6, 8), ("equalize", 0.6, 1)),
    (("color", 0.8, 6), ("rotate", 0.4, 5)),
)


def _torchvision(kind: str, probability: float, level: int) -> Operation:
    """Return a level's operation as torchvision reads it."""
    share = level / 9
    if kind in BLENDS:
        return Operation(kind, probability, 1.0, 0.9 * share, signed=True)
    amounts = {
        "rotate": 30 * share,
        "shear-x": 0.3 * share,
        "posterize": 8 - round(4 * share),
        "solarize": 255 * (1 - share),
    }
    return Operation(kind, probability, 0.0, amounts.get(kind, 0.0), signed=kind in WARPS)


def _tensorflow(kind: str, probability: float, level: int) -> Operation:
    """Return a level's operation as TensorFlow's models read it."""
    share = level / 10
    amounts = {
        "rotate": 30 * share,
        "shear-x": 0.3 * share,
        "shear-y": 0.3 * share,
        "translate-y": 250 * share,
        "posterize": max(1, int(4 * share)),  # TensorFlow shifts 8 bits by 7 at most
        "solarize": int(256 * share),
        "solarize-add": int(110 * share),
        "color": 1.8 * share + 0.1,
    }
    return Operation(kind, probability, 0.0, amounts.get(kind, 0.0), signed=kind in WARPS)


POLICIES = {
    "imagenet": Policy([tuple(_torchvision(*one) for one in pair) for pair in _IMAGENET], 0.0),
    "v0": Policy([tuple(_tensorflow(*one) for one in pair) for pair in _V0], 128.0),
}
