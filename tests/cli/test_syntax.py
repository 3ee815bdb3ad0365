import pytest

from sslcli.cli.syntax import parse_seeds
from sslcli.errors import UsageError


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("0-4", (0, 1, 2, 3, 4)), ("0,3,7", (0, 3, 7)), ("7, 0-1", (7, 0, 1)), ("5", (5,))],
)
def test_seeds_are_read(text: str, seeds: tuple[int, ...]):
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize(
    "text", ["", "a", "-1", "4-0", "0-4,2", "1,", "0-99999999", "0-999999999999"]
)
def test_wrong_seeds_are_wrong_use(text: str):
    with pytest.raises(UsageError) as caught:
        parse_seeds(text)
    assert caught.value.where == "--seeds"
