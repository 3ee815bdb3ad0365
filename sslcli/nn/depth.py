"""The depth of a network's parameters, counted in blocks of transformers and stages of ResNets."""

import re
from collections.abc import Iterable

# Transformers and IGEBM's networks have blocks, the other ResNets stages that are called layers.
_NUMBERED = re.compile(r"(?:^|\.)(?:blocks\.|layer\.?)(\d+)\.")
_STEM = re.compile(r"(?:^|\.)(?:conv1|bn1|cls_token|pos_embed|patch_embed|embeddings)(?:\.|$)")


def depths(names: Iterable[str]) -> dict[str, int]:
    """Return how deep each parameter of an encoder lies: 0 in the stem, then from 1.

    What follows the last block, such as a norm, counts to it, as in timm.

    Raises:
        ValueError: If the network has neither blocks nor stages.
    """
    names = list(names)
    matches = {name: _NUMBERED.search(name) for name in names}
    numbers = sorted({int(match[1]) for match in matches.values() if match})
    if not numbers:
        raise ValueError("it has neither blocks nor stages")
    place = {number: depth for depth, number in enumerate(numbers, start=1)}
    found = {}
    for name, match in matches.items():
        behind = 0 if _STEM.search(name) else len(numbers)
        found[name] = place[int(match[1])] if match else behind
    return found
