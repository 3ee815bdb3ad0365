"""Prompts: sentences with a place for a class's name, and the names that go there."""

import json
import re
from collections.abc import Sequence
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from sslcli.data.text.clip import open_clip_file
from sslcli.errors import DataError, UsageError

PLACE = "{}"
GENERAL = ("a photo of a {}.",)  # Radford et al. 2021 (arXiv:2103.00020), section 3.1.4
_DIGITS = ("a {}", "the digit {}", "a small {}", "a large {}", "the digit {} in the middle")
BUILTIN = {"scenes": _DIGITS, "scenes-colour": _DIGITS, "digits": _DIGITS, "mnist": _DIGITS}
IMAGENET = {  # of the extra clip: CLIP's templates for ImageNet, all and the best seven
    "imagenet": "OPENAI_IMAGENET_TEMPLATES",
    "imagenet-7": "SIMPLE_IMAGENET_TEMPLATES",
}
_HINT = f'write {PLACE} where the name goes, such as "a photo of a {PLACE}"'


def templates_of(prompts: Sequence[str], data: str) -> tuple[str, ...]:
    """Return the templates that were asked for; the built-in ones of the data where none was.

    Args:
        prompts: Templates; text files with one a line; or a name of `IMAGENET`.
        data: The name of the data set.

    Raises:
        SslError: If there is a template without its place, or a file that cannot be read.
    """
    if not prompts:
        return BUILTIN.get(data, GENERAL)
    found = [template for each in prompts for template in _written(each)]
    for template in found:
        if PLACE not in template:
            raise UsageError(f"this prompt has no {PLACE}: {template!r}", "prompts", _HINT)
    return tuple(dict.fromkeys(found))


def _written(prompt: str) -> Sequence[str]:
    """Return the templates that one argument stands for."""
    if prompt in IMAGENET:
        return [template(PLACE) for template in getattr(_clip_words(), IMAGENET[prompt])]
    if PLACE in prompt or not prompt.endswith(".txt"):
        return [prompt]
    lines = [line.strip() for line in _read(Path(prompt)).splitlines()]
    if not any(lines):
        raise UsageError("the file holds no prompts", prompt, "write one a line")
    return [line for line in lines if line]


def names_of(classes: Sequence[str], names: str | None) -> tuple[str, ...]:
    """Return what a prompt calls each class: its own name, or what a map says.

    Underscores of own names become spaces.

    Args:
        classes: Names of the classes in the data.
        names: A .json object, or a .csv or .tsv of two columns, from the data's name of a class to
            the prompts'; "imagenet" for CLIP's names of ImageNet's synsets (the extra clip).

    Raises:
        SslError: If the map cannot be read, or lacks a class.
    """
    if names is None:
        return tuple(name.replace("_", " ") for name in classes)
    known = _imagenet(classes) if names == "imagenet" else _mapped(Path(names))
    if missing := [name for name in classes if name not in known]:
        more = ", ..." if len(missing) > 3 else ""
        what = f"the map lacks {len(missing)} of {len(classes)} classes: {', '.join(missing[:3])}"
        raise UsageError(what + more, names, "give each class of the data a name")
    return tuple(known[name] for name in classes)


def _imagenet(classes: Sequence[str]) -> dict[str, str]:
    """Return CLIP's name of each synset, which are in the order of their numbers."""
    listed = _clip_words().IMAGENET_CLASSNAMES
    ordered = sorted(classes)
    is_whole = len(ordered) == len(listed) and all(re.fullmatch(r"n\d{8}", n) for n in ordered)
    if not is_whole:
        what = f"these {len(classes)} classes are not the 1,000 synsets of ImageNet"
        raise UsageError(what, "names", "give a file that maps your classes to names")
    return dict(zip(ordered, listed, strict=True))


def _mapped(file: Path) -> dict[str, str]:
    """Return a map that was written as JSON, or as a table of two columns."""
    text = _read(file)
    if file.suffix == ".json":
        try:
            found = json.loads(text)
        except ValueError as error:
            raise DataError(f"the map is no JSON: {error}", str(file)) from error
        if not isinstance(found, dict) or not all(isinstance(v, str) for v in found.values()):
            raise DataError("the map is no object of texts", str(file), '{"0": "zero", ...}')
        return found
    cut = "\t" if file.suffix == ".tsv" else ","
    rows = [line.split(cut, 1) for line in text.splitlines() if line.strip()]
    if bad := [number for number, row in enumerate(rows, 1) if len(row) != 2]:
        hint = "write the data's name and the prompts' of one class a line"
        raise DataError("a line of the map has no two columns", f"{file}:{bad[0]}", hint)
    return {key.strip(): value.strip() for key, value in rows}


def _read(file: Path) -> str:
    try:
        return file.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        what = f"the file cannot be read: {error}"
        raise DataError(what, str(file), "name a text file in UTF-8") from error


def _clip_words() -> Any:
    """Return open_clip's module of words, read by itself: the package would load all its models."""
    need = "ImageNet's names and prompts"
    file = open_clip_file("zero_shot_metadata.py", need, "prompts")
    spec = spec_from_file_location("sslcli_open_clip_words", file)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
