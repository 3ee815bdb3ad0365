import pytest

from sslcli.errors import UsageError
from sslcli.evaluate.seeds import Summary, parse_seeds, summarise


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


def test_summary_is_mean_and_sample_deviation():
    summary = summarise([{"top1": 0.5}, {"top1": 0.7}, {"top1": 0.9}])["top1"]
    assert summary.mean == pytest.approx(0.7)
    assert summary.deviation == pytest.approx(0.2)
    assert str(summary) == "0.7000 +- 0.2000 (n=3)"


def test_one_seed_has_no_deviation():
    assert summarise([{"top1": 0.5}]) == {"top1": Summary(0.5, None, 1)}


@pytest.mark.parametrize("results", [[], [{"a": 1.0}, {"b": 1.0}]])
def test_summary_needs_equal_metrics(results: list[dict[str, float]]):
    with pytest.raises(ValueError, match="results"):
        summarise(results)
