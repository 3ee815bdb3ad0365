"""Prompts and names: what is given, what is built in, what is refused."""

from importlib.util import find_spec

import pytest

from sslcli.errors import DataError, UsageError
from sslcli.evaluate.prompts import BUILTIN, GENERAL, names_of, templates_of


def test_data_has_its_own_prompts_or_the_general_one():
    assert templates_of([], "scenes-colour") == BUILTIN["scenes-colour"]
    assert templates_of([], "photos/") == GENERAL == ("a photo of a {}.",)


def test_a_file_gives_a_template_a_line_and_none_twice(tmp_path):
    file = tmp_path / "prompts.txt"
    file.write_text("a {}\n\n  the {}\n")
    assert templates_of([str(file), "a {}"], "digits") == ("a {}", "the {}")
    file.write_text("\n")
    with pytest.raises(UsageError, match="holds no prompts"):
        templates_of([str(file)], "digits")
    with pytest.raises(DataError, match="cannot be read"):
        templates_of(["missing.txt"], "digits")


@pytest.mark.parametrize("prompt", ["a photo of a dog", "a {name}", ""])
def test_a_prompt_without_a_place_is_refused(prompt):
    with pytest.raises(UsageError, match=r"this prompt has no \{\}") as fault:
        templates_of(["a {}", prompt], "digits")
    assert "a photo of a {}" in fault.value.hint


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("map.json", '{"n01": "tench", "n02": "great white shark"}'),
        ("map.csv", "n01,tench\nn02, great white shark\n"),
        ("map.tsv", "n01\ttench\n\nn02\tgreat white shark\n"),
    ],
)
def test_a_map_names_the_classes_in_their_order(name, text, tmp_path):
    file = tmp_path / name
    file.write_text(text)
    assert names_of(("n02", "n01"), str(file)) == ("great white shark", "tench")
    with pytest.raises(UsageError, match="the map lacks 1 of 2 classes: n03"):
        names_of(("n01", "n03"), str(file))


def test_own_names_lose_their_underscores():
    assert names_of(("great_white_shark", "tench"), None) == ("great white shark", "tench")


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("map.json", "{", "is no JSON"),
        ("map.json", '["a"]', "no object of texts"),
        ("map.csv", "a,b\nc\n", "has no two columns"),
    ],
)
def test_a_damaged_map_is_told(name, text, told, tmp_path):
    file = tmp_path / name
    file.write_text(text)
    with pytest.raises(DataError, match=told):
        names_of(("a",), str(file))


@pytest.mark.skipif(find_spec("open_clip") is None, reason="needs the extra clip")
def test_the_extra_holds_imagenets_names_and_prompts():
    every, best = templates_of(["imagenet"], ""), templates_of(["imagenet-7"], "")
    assert (len(every), len(best)) == (80, 7)
    assert best[0] == "itap of a {}."
    assert set(best) <= set(every)
    synsets = tuple(f"n{number:08}" for number in range(1000))
    assert names_of(synsets[::-1], "imagenet")[-1] == "tench"
    with pytest.raises(UsageError, match="not the 1,000 synsets"):
        names_of(("n01440764",), "imagenet")
