"""Find a network's tensors in a file that has other names and other networks beside it."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from sslcli.errors import CheckpointError
from sslcli.nn.foreign.spelling import COUNTER, Spelling, spellings

# Where the encoder lies in our checkpoints, in a method's state dict, or on its own.
OWN = ("method.encoder.", "encoder.", "")
# Words of a prefix. DINO's teacher and timm's averaged model are what their codes evaluate; other
# averages are targets, and their codes evaluate the network beside them.
_EVALUATED = {"teacher", "ema"}
_TARGETS = {"k", "momentum", "student", "target"}
# Behind a feature: classifiers, projections, predictions, prototypes, and what only training reads.
_HEADS = re.compile(
    r"(fc|classifier|head|heads|linear|proj|projection_head|prototypes\d*|projector|predictor|pooler|"
    r"class_output|energy_output|queue|queue_ptr|(embeddings\.)?mask_token|embeddings\.position_ids)(\.|$)"
)

_LONGEST = 12  # words of a name that can be one of ours, in any spelling


@dataclass(frozen=True)
class Fit:
    """The place of a network in a file.

    Attributes:
        prefix: What the file has before each name.
        spelling: Whose names they are.
        found: By our name, the names in the file that make the tensor.
        strange: Names behind the prefix that are neither the network's nor a head's.
        others: Prefixes of networks that fit as well, and were not taken.
    """

    prefix: str
    spelling: Spelling
    found: Mapping[str, tuple[str, ...]]
    strange: tuple[str, ...]
    others: tuple[str, ...] = ()

    def tensors(self, stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors by our names, and strange ones by theirs."""
        ours = {
            own: torch.cat([stored[name] for name in names]) if names[1:] else stored[names[0]]
            for own, names in self.found.items()
        }
        return ours | {name.removeprefix(self.prefix): stored[name] for name in self.strange}

    def left(self, stored: Iterable[str]) -> tuple[str, ...]:
        """Return the names in the file that the network has no use for."""
        used = {name for names in self.found.values() for name in names} | {*self.strange}
        return tuple(name for name in stored if name not in used)


def find_fit(own: Iterable[str], stored: Mapping[str, Tensor], where: str, key: str = "") -> Fit:
    """Return where a network lies in a file, or the nearest to that.

    Args:
        own: The names of its state dict.
        stored: What the file holds.
        where: The file, for the error.
        key: Take the network below this name, such as "student".

    Raises:
        CheckpointError: If several networks fit and none of them is the one to evaluate, or
            nothing lies below `key`.
    """
    own, names = list(own), names_below(stored, where, key)
    known = spellings(own)
    whole = [(spelling, p) for spelling in known for p in _whole(spelling, names)]
    if not whole:
        return _fit(*_nearest(known, names), names)
    (spelling, prefix), *others = _chosen(whole, where)
    return _fit(spelling, prefix, names, tuple(other for _, other in others))


def names_below(stored: Iterable[str], where: str, key: str) -> set[str]:
    """Return the names below a key."""
    names = {name for name in stored if not key or name.startswith(f"{key.rstrip('.')}.")}
    if not names:
        tops = dict.fromkeys(name.split(".")[0] for name in stored)
        hint = f"at the top there are: {', '.join([*tops][:8]) or 'no tensors at all'}"
        what = f"nothing lies below {key!r}" if key else "the file holds no tensors"
        raise CheckpointError(what, where, hint)
    return names


def _needed(spelling: Spelling) -> list[str]:
    return [x for own, each in spelling.names.items() if not own.endswith(COUNTER) for x in each]


def _whole(spelling: Spelling, names: set[str]) -> Iterator[str]:
    """Yield the prefixes under which every name is there."""
    first, *rest = _needed(spelling)
    for name in sorted(names):
        if name == first or name.endswith(f".{first}"):
            prefix = name.removesuffix(first)
            if all(prefix + other in names for other in rest):
                yield prefix


def _chosen(whole: list[tuple[Spelling, str]], where: str) -> list[tuple[Spelling, str]]:
    """Return the networks that fit, that to take first.

    Raises:
        CheckpointError: If nothing says which to take.
    """
    ours = [(spelling, p) for spelling, p in whole if not spelling.label and p in OWN]
    ranked = sorted(whole, key=lambda each: (each not in ours, _rank(each[1])))
    best, *others = ranked
    if not ours and others and _rank(others[0][1]) == _rank(best[1]):
        named = ", ".join(repr(prefix) for _, prefix in sorted(whole, key=lambda each: each[1]))
        hint = f"import one of them with `key`, such as {best[1].rstrip('.')}"
        raise CheckpointError(f"{len(whole)} networks in the file fit: {named}", where, hint)
    return ranked


def _rank(prefix: str) -> int:
    words = {*re.split(r"[._]", prefix)}
    return 0 if words & _EVALUATED else 2 if words & _TARGETS else 1


def _nearest(known: list[Spelling], names: set[str]) -> tuple[Spelling, str]:
    """Return the spelling and the prefix under which most names are there."""
    ends: dict[str, list[str]] = {}
    for name in names:
        words = name.split(".")
        for start in range(max(0, len(words) - _LONGEST), len(words)):
            prefix = "".join(f"{word}." for word in words[:start])
            ends.setdefault(".".join(words[start:]), []).append(prefix)
    counts = Counter(
        (index, prefix)
        for index, spelling in enumerate(known)
        for needed in _needed(spelling)
        for prefix in ends.get(needed, ())
    )
    (index, prefix), count = max(
        counts.items(), key=lambda each: (each[1], each[0][1] in OWN), default=((0, ""), 0)
    )
    is_near = prefix in OWN or 2 * count >= len(_needed(known[index]))
    return (known[index], prefix) if is_near else (known[0], "")


def _fit(spelling: Spelling, prefix: str, names: set[str], others: tuple[str, ...] = ()) -> Fit:
    spelled = {own: tuple(prefix + x for x in each) for own, each in spelling.names.items()}
    found = {own: each for own, each in spelled.items() if names.issuperset(each)}
    used = {name for each in found.values() for name in each}
    behind = (name for name in sorted(names - used) if name.startswith(prefix))
    strange = tuple(name for name in behind if not _HEADS.match(name[len(prefix) :]))
    return Fit(prefix, spelling, found, strange, others)
