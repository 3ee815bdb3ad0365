"""Presets with damage, laid down as files and resolved the way `--preset` and `--config` do."""

import math
import os
import tomllib
from collections.abc import Callable
from pathlib import Path
from random import Random

import tomli_w
import torch
from mutation import HOSTILE_VALUES, damage_bytes, damage_tree

from sslcli import assemble
from sslcli.config.presets import list_presets, preset_file, resolve, to_toml
from sslcli.config.section import DataFacts

_TEXTS: list[bytes] = []


def prepare(folder: Path) -> None:
    """Read the shipped presets, as files and resolved, and import timm before time counts."""
    import timm  # noqa: F401

    os.environ.pop("SSL_PRESETS", None)
    for name in list_presets():
        _TEXTS.append(preset_file(name).read_bytes())
        _TEXTS.append(to_toml(resolve(name).config).encode())
    if not (folder / "pipe.toml").exists():
        os.mkfifo(folder / "pipe.toml")


def ways(seed: int, folder: Path) -> dict[str, Callable[[], object]]:
    """Write the preset of this seed and return how it is resolved and built."""
    random = Random(seed)
    path = folder / "mutated.toml"
    path.write_bytes(random.choice((_bytes, _tree, _tree, _tree, _extends, _crowd))(random, folder))
    return {
        "preset": lambda: _build(resolve(preset=path).config),
        "config": lambda: _build(resolve("simsiam/digits", path, {"seed": 3}).config),
    }


def _build(config) -> None:
    with torch.device("meta"):
        assemble.build_method(config, "meta", DataFacts(rows=1_000))


def _bytes(random: Random, folder: Path) -> bytes:
    return damage_bytes(random.choice(_TEXTS), random)


def _tree(random: Random, folder: Path) -> bytes:
    tree = tomllib.loads(random.choice(_TEXTS).decode())
    if random.random() < 0.3:
        tree.setdefault("encoder", {})["name"] = random.choice(_ENCODERS)
    damage_tree(tree, random)
    return _dumped(tree, random)


_ENCODERS = (
    "resnet9998",
    "resnet1202",
    "resnet152",
    "wide_resnet101_2",
    "resnext101_64x4d",
    "timm:test_vit",
    "timm:test_resnet",
    "timm:vit_tiny_patch16_224",
    "timm:",
    "timm:../../canary",
    "timm:hf-hub:nobody/canary",
    "timm:local-dir:.",
)


def _extends(random: Random, folder: Path) -> bytes:
    """Extend what should not be extended: oneself, a circle, a pipe, a device, a system file."""
    targets = (
        "mutated.toml",
        "./loop.toml",
        "/etc/passwd",
        "../../../etc/passwd",
        "/dev/zero.toml",
        "pipe.toml",
        "~nobody-here/x.toml",
        "~/.toml",
        "simsiam",
        "simsiam/",
        "/",
        "",
        "a\0.toml",
        "x" * 300 + ".toml",
        "..",
        "long/" * 2_000 + ".toml",
        "simsiam/digits",
        "\n",
        "link.toml",
    )
    (folder / "loop.toml").write_text('extends = "mutated.toml"\n')
    link = folder / "link.toml"
    link.unlink(missing_ok=True)
    link.symlink_to(random.choice(("/dev/zero", "/dev/stdin", "link.toml", "/etc/passwd")))
    tree = tomllib.loads(random.choice(_TEXTS).decode())
    tree["extends"] = random.choice((*targets, *targets, *HOSTILE_VALUES))
    return _dumped(tree, random)


def _crowd(random: Random, folder: Path) -> bytes:
    """Make something very many or very long."""
    count = random.choice((100, 5_000, 100_000))
    text = random.choice(_TEXTS)
    view = b"[[views]]\ncount = 1\nsize = 8\ncrop_scale = [0.5, 1.0]\n"
    return random.choice(
        (
            b"".join(b"a%d = 1\n" % i for i in range(count)) + text,
            text + b"[x]\n" + b"".join(b"size%d = %d\n" % (i, i) for i in range(count)),
            text + view * count,
            text + b"\n[z]\n" + b"a." * count + b"b = 1\n",
            text + b"\n[z]\nb = {" + b"a." * count + b"b = 1}\n",
            text + b"\n[" + b"a." * count + b"b]\n",
            text + b"\n[z]\nb = " + b"[" * count + b"]" * count,
            text + b"\n[z]\nb = " + b"{a=" * count + b"}" * count,
            text + b'\n[z]\nb = "' + b"\\u0041" * count + b'"',
            text + b'\n[z]\nb = """' + b"." * count,
            text + b"\n[z]\nb = " + b"9" * count,
            text + b"\n[z]\nb = 1." + b"9" * count + b"e",
            text + b"#" + b"\t" * count,
            b"\xef\xbb\xbf" * min(count, 9) + text,
            text.replace(b"\n", b"\n" * min(count, 900)),
            text.decode().encode("utf-16"),
        )
    )


def _dumped(tree: dict, random: Random) -> bytes:
    """Write TOML, which knows no null and no very deep nesting; then tear the text instead."""
    try:
        return tomli_w.dumps(_without_none(tree)).encode("utf-8", "surrogatepass")
    except RecursionError:
        return random.choice(_TEXTS) + b"\n[deep]\nb = " + b"[" * 900 + b"]" * 900


def _without_none(node):
    if isinstance(node, dict):
        return {key: _without_none(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_without_none(value) for value in node]
    return math.nan if node is None else node
