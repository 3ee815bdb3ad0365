"""Damage bytes and trees of values at random; every choice comes from the generator given."""

import math
from random import Random

HOSTILE_BYTES = (
    b"\0",
    b"\xff\xfe",
    b"\xc3\x28",  # no UTF-8
    b"\r",
    b'"""',
    b"[[",
    b"{" * 50,
    b"}",
    b"\x1b[2J",
    b"../../canary",
    b"${HOME}",
    b"=",
)
HOSTILE_VALUES = (
    None,
    True,
    "",
    "x" * 200_000,
    "\0",
    "\x1b[2J\n",
    "../../canary",
    "/etc/passwd",
    "~nobody-here/canary.toml",
    "$(touch canary)",
    "{canary}",
    "nan",
    "9" * 5_000 + " epochs",
    "0 steps",
    "1e9 epochs",
    "99999999999999999999 epochs",
    [],
    {},
    [[]],
    [{}],
    ["a"] * 5_000,
    [0.5] * 3,
    [0, 0, 0],
    {"name": "sgd"},
    {"name": ["sgd"]},
    {"": {"": {"": 1}}},
    0,
    1,
    3,
    -1,
    7,
    255,
    65_535,
    1_000_003,
    2**31 - 1,
    2**31,
    2**62,
    2**63 - 1,
    2**63,
    -(2**63),
    10**400,
    0.0,
    0.5,
    1.0,
    -0.5,
    5e-324,
    1e-12,
    1e12,
    1.7e308,
    math.nan,
    math.inf,
    -math.inf,
)


def damage_bytes(data: bytes, random: Random) -> bytes:
    """Return `data` with one to four pieces of damage: flips, cuts, repeats, insertions."""
    for _ in range(random.randint(1, 4)):
        kind = random.choice((_flip, _flip, _overwrite, _truncate, _remove, _repeat, _insert))
        data = kind(data, random)
    return data


def _flip(data: bytes, random: Random) -> bytes:
    changed = bytearray(data)
    for _ in range(random.randint(1, 8) if data else 0):
        changed[random.randrange(len(data))] ^= 1 << random.randrange(8)
    return bytes(changed)


def _overwrite(data: bytes, random: Random) -> bytes:
    start, length = random.randrange(len(data) + 1), random.choice((1, 2, 4, 8))
    filling = random.choice((b"\0", b"\xff", b"\x7f", b"\x80")) * length
    return data[:start] + filling + data[start + length :]


def _truncate(data: bytes, random: Random) -> bytes:
    return data[: random.randrange(len(data) + 1)]


def _remove(data: bytes, random: Random) -> bytes:
    start, stop = _span(data, random)
    return data[:start] + data[stop:]


def _repeat(data: bytes, random: Random) -> bytes:
    start, stop = _span(data, random)
    return data[:stop] + data[start:stop] * random.choice((1, 1, 2, 50)) + data[stop:]


def _insert(data: bytes, random: Random) -> bytes:
    start = random.randrange(len(data) + 1)
    piece = random.choice((*HOSTILE_BYTES, random.randbytes(random.randint(1, 40))))
    return data[:start] + piece + data[start:]


def _span(data: bytes, random: Random) -> tuple[int, int]:
    start = random.randrange(len(data) + 1)
    return start, min(len(data), start + random.choice((1, 4, 30, 400)))


def damage_tree(tree: dict, random: Random) -> None:
    """Change one to three places of a tree of tables, lists and values."""
    for _ in range(random.randint(1, 3)):
        node, key = random.choice(_places(tree) or [(tree, "empty")])
        kind = random.choice((*["scale"] * 5, *["value"] * 3, "remove", "unknown", "move", "nest"))
        value = node.get(key) if isinstance(node, dict) else node[key]
        if kind == "scale" and isinstance(value, int | float) and math.isfinite(value):
            node[key] = type(value)(min(value, 1e300) * random.choice((0.5, 2, 10, 1_000, 10**9)))
        elif kind == "value":
            node[key] = random.choice(HOSTILE_VALUES)
        elif kind == "remove" and node:
            node.pop(key, None) if isinstance(node, dict) else node.pop(key)
        elif kind == "unknown" and isinstance(node, dict):
            node[random.choice(("colour", "", "a.b", "\u202e", "__class__"))] = 1
        elif kind == "move":
            other, place = random.choice(_places(tree))
            other[place] = _detached(node[key])
        elif kind == "nest":
            node[key] = nested(random.choice((3, 20, 200, 5_000)), random)


def nested(depth: int, random: Random) -> dict | list:
    """Return tables or lists inside each other, `depth` of them."""
    node: dict | list = []
    for _ in range(depth):
        node = {"a": node} if random.random() < 0.5 else [node]
    return node


def _places(node: dict | list, depth: int = 0) -> list[tuple]:
    """Return every container and key in it, down to where hostile values begin to nest."""
    keys = list(node) if isinstance(node, dict) else list(range(min(len(node), 20)))
    found = [(node, key) for key in keys]
    for key in keys if depth < 6 else ():
        if isinstance(node[key], dict | list):
            found += _places(node[key], depth + 1)
    return found


def _detached(node):
    """Copy as far as places go, so that no table comes to hold itself."""
    if isinstance(node, dict):
        return dict(list(node.items())[:20])
    return node[:20] if isinstance(node, list) else node
