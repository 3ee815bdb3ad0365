"""Refuse images without colour where the parts of a split encoder would show nothing by it."""

from sslcli.config.encoder import Part
from sslcli.config.pixels import FITTING, Space
from sslcli.config.schema import Config
from sslcli.data.sources.looks import is_grey
from sslcli.data.sources.open import Source
from sslcli.errors import ConfigError


def need_colour(config: Config, source: Source) -> None:
    """Raise ConfigError if channels are to be told apart that grey images have none of.

    Args:
        config: Its encoder's split, and the colour space.
        source: The images; a few are looked at, where the split asks for colour.
    """
    split, space = config.encoder.split or (), config.data.space
    if not (why := _without_colour(split, space)) or not is_grey(source):
        return
    mean, std = map(list, FITTING["rgb"])
    raise ConfigError(
        f"the images of {source.name} are grey, so that {why}",
        "encoder.split",
        'use images with colour, or the views that grey ones have: encoder.split=[[0], ["dx", '
        f'"dy"]] with data.space="rgb", data.mean={mean} and data.std={std}',
    )


def _without_colour(split: tuple[Part, ...], space: Space) -> str:
    """Say what is wrong with a split of grey images; nothing if each part shows its own."""
    shown: dict[frozenset[str], Part] = {}
    for part in split:
        sees = _seen(part, space)
        if not sees:
            return f"part {list(part)} of encoder.split is the same everywhere in {space}"
        if sees in shown and set(shown[sees]) != set(part):
            both = f"{list(shown[sees])} and {list(part)}"
            return f"parts {both} of encoder.split show the same"
        shown[sees] = part
    return ""


def _seen(part: Part, space: Space) -> frozenset[str]:
    """Return what channels show of a grey image: its light, its edges, both or nothing."""
    has_light = 0 in part or (space == "rgb" and {1, 2} & set(part))
    has_edges = {"dx", "dy"} & set(part)
    return frozenset((["light"] if has_light else []) + (["edges"] if has_edges else []))
