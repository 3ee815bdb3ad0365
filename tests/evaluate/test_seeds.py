import pytest
import torch
from scipy import stats

from sslcli.evaluate.seeds import Summary, deviations, over_seeds, summarise


def test_summary_is_mean_and_sample_deviation():
    summary = summarise([{"top1": 0.5}, {"top1": 0.7}, {"top1": 0.9}])["top1"]
    assert summary.mean == pytest.approx(0.7)
    assert summary.deviation == pytest.approx(0.2)
    assert str(summary) == "0.7000 +- 0.2000 (n=3)"


def test_the_interval_of_a_mean_is_student_s():
    values = [0.5, 0.7, 0.9, 0.75]
    summary = summarise([{"top1": value} for value in values])["top1"]
    reference = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert summary.interval == pytest.approx((reference.low, reference.high))
    assert Summary(0.5, None, 1).interval is None


def test_counts_of_several_seeds_are_added_up():
    results = [{"top1": 0.5, "confusion": torch.tensor([[seed, 1]])} for seed in (1, 2, 3)]
    assert over_seeds(results, ["top1"])[0]["confusion"].tolist() == [[6, 3]]


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
