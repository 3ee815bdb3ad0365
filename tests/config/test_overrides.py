import pytest

from sslcli.config.overrides import REMOVED, parse_set
from sslcli.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("0.5", 0.5),
        (".9", 0.9),
        ("-5.e-2", -0.05),
        ("1e-4", 1e-4),
        ("true", True),
        ("bf16", "bf16"),
        ("10 epochs", "10 epochs"),
        ("a/b=c.tar", "a/b=c.tar"),
        ('"quoted"', "quoted"),
        ("''", ""),
        ("[0.2, 1.0]", [0.2, 1.0]),
        ("{name = 'adam'}", {"name": "adam"}),
        ("1\nother = 2", "1\nother = 2"),
    ],
)
def test_values_are_toml_or_text(text: str, value):
    assert parse_set(f"a.b={text}").value == value


def test_keys_are_dotted_paths():
    assert parse_set("views.0.size = 24").path == ("views", "0", "size")


def test_nothing_removes_the_field():
    assert parse_set("optimizer.clip_norm=").value is REMOVED


@pytest.mark.parametrize("text", ["", "=", "=3", "seed", "a..b=1", ".a=1", "a.=1"])
def test_what_assigns_nothing_is_refused(text: str):
    with pytest.raises(ConfigError) as caught:
        parse_set(text)
    assert caught.value.where == f"`overrides` {text}"
    assert "`overrides` section.field=value" in caught.value.hint


@pytest.mark.parametrize("value", ["[0.2", "{a = 1", '"open', "'", "[" * 5000])
def test_broken_lists_tables_and_strings_are_refused(value: str):
    with pytest.raises(ConfigError, match="no TOML"):
        parse_set(f"a={value}")
