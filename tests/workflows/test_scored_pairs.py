"""Pairs that weights are chosen by, and pairs that are reported on."""

import pytest

import sslcli
from sslcli.config.presets import resolve
from sslcli.data.sources.open import open_source
from sslcli.engine.checkpoint import BEST, load_checkpoint
from sslcli.errors import DataError, UsageError
from sslcli.workflows.scored_pairs import asked_pairs, development_pairs

DATA = resolve("simcse/phrases").config.data
PAIRS = "sentence1,sentence2,score\na red,a two,2\nit is,it,5\nthe two,one,1\none,is it,3\n"
TINY = {"encoder.name": "bert-1-16-2", "train.batch_size": 8, "train.duration": "2 steps"}


@pytest.fixture
def folder(tmp_path):
    """Return an STS folder of the three parts of STS-B and of SICK's test."""
    benchmark = tmp_path / "STSBenchmark"
    benchmark.mkdir()
    for part, count in (("train", 3), ("dev", 2), ("test", 1)):
        line = "g\tf\t2012\t7\t3.2\tOne.\tTwo.\n"
        (benchmark / f"sts-{part}.csv").write_text(count * line)
    return tmp_path


def test_weights_are_chosen_by_the_development_part_and_the_others_reported(folder):
    assert len(development_pairs(str(folder), DATA)) == 2
    asked = asked_pairs(open_source(str(folder), part=None), "pairs")
    assert sorted(asked.tasks) == ["stsb", "stsb-dev"]
    with pytest.raises(DataError, match="development part"):
        development_pairs(str(folder / "STSBenchmark" / "sts-test.csv"), DATA)


def test_the_test_pairs_of_the_phrases_choose_nothing():
    assert len(development_pairs("phrases", DATA)) == 6000


def test_the_best_weights_are_those_of_the_highest_spearman(tmp_path):
    (tmp_path / "dev.csv").write_text(PAIRS)
    fields = {"evaluation.online_sts": str(tmp_path / "dev.csv")}
    fields |= TINY | {"evaluation.online_every": "1 steps"}
    run = sslcli.pretrain("simcse", best="sts", out=tmp_path / "run", overrides=fields)
    facts = load_checkpoint(tmp_path / "run").facts["best"]
    measured = sslcli.sts_eval(tmp_path / "run" / BEST, data=str(tmp_path / "dev.csv"))
    assert facts["metric"] == "online_sts"
    assert facts["value"] == pytest.approx(measured.spearman, abs=1e-9)
    assert "online_sts" in run.metrics


@pytest.mark.parametrize(
    ("method", "fields", "what"),
    [
        ("simcse", {"train.best": "sts"}, "none are named"),
        ("simsiam", {"evaluation.online_sts": "phrases"}, "reads no sentences"),
    ],
)
def test_what_cannot_be_measured_is_refused(tmp_path, method, fields, what):
    with pytest.raises(UsageError, match=what):
        sslcli.pretrain(method, overrides=fields, out=tmp_path / "no")
    assert not (tmp_path / "no").exists()
