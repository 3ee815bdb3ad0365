import pytest

from sslcli.evaluate.seeds import Summary, deviations, over_seeds, summarise


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


def test_over_seeds_some_metrics_are_means_and_the_rest_is_the_first_seed_s():
    results = [{"top1": 0.5, "top5": None, "n": 9}, {"top1": 0.7, "top5": None, "n": 9}]
    means, found = over_seeds(results, ("top1", "top5"))
    assert means == {"top1": pytest.approx(0.6), "top5": None, "n": 9}
    assert deviations(found) == {"top1_deviation": pytest.approx(0.02**0.5), "seeds": 2}
