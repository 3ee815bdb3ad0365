import pytest
import torch

from sslcli.evaluate.ood.bootstrap import Bootstrap
from sslcli.evaluate.ood.detect import measure
from sslcli.evaluate.ood.metrics import METRICS
from sslcli.workflows.ood_result import OODResult, ScoreSettings, metric_names

SCORES, SETS = ("knn", "a/score"), ("near", "far/away")


@pytest.fixture
def result():
    """Return two scores on two sets of three images; names hold the slash that joins them."""
    draw = torch.Generator().manual_seed(0)
    inside = torch.rand(4, generator=draw)
    values = {
        name: {score: (inside, torch.rand(3, generator=draw)) for score in SCORES} for name in SETS
    }
    rows = [row for name in SETS for row in measure(values[name], name, Bootstrap(4, 3, 0))]
    settings = (ScoreSettings("knn", {"k": 50}, 0.9), ScoreSettings("a/score", {}, None))
    left_out = {"odin": "there is no classifier"}
    return OODResult(tuple(rows), settings, left_out, None, None, "a protocol", values)


def test_metrics_are_the_numbers_of_the_rows_and_their_means(result):
    metrics = result.metrics()
    assert list(metrics) == [*metric_names(SCORES, SETS), "top1"]
    for row in result.rows():
        for metric in METRICS:
            assert metrics[f"{metric}/{row['score']}/{row['outside']}"] == row[metric]
    own = [row["auroc"] for row in result.rows() if row["score"] == "a/score"]
    assert metrics["auroc/a/score"] == pytest.approx(sum(own) / 2)
    assert metrics["auroc/a/score"] == result.means()["a/score"]["auroc"]


def test_every_number_of_a_set_has_its_interval_under_the_same_name(result):
    metrics, intervals = result.metrics(), result.intervals()
    assert len(intervals) == len(METRICS) * len(SCORES) * len(SETS)
    assert intervals.keys() < metrics.keys()
    (row,) = [r for r in result.measured if (r.score, r.outside) == ("a/score", "far/away")]
    assert intervals["auroc/a/score/far/away"] == row.intervals["auroc"]


def test_what_was_not_measured_has_a_reason_under_its_name(result):
    why = result.unmeasured()
    assert why["auroc/odin/far/away"] == why["fpr95_in/odin"] == "there is no classifier"
    assert result.metrics()["top1"] is None
    assert "no classifier" in why["top1"]
    assert not why.keys() & set(metric_names(SCORES, SETS))


def test_settings_are_shown_with_what_chose_them(result):
    assert [str(each) for each in result.settings] == ["k=50 (tuned)", ""]
