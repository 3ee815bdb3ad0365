"""Scored pairs in SentEval's layout: every file form, what is not judged, and what is broken."""

import math

import numpy as np
import pytest

from sslcli.data.sources.open import open_source
from sslcli.errors import DataError

SICK = "pair_ID\tsentence_A\tsentence_B\trelatedness_score\tentailment_judgment"


@pytest.fixture
def folder(tmp_path):
    """Return a folder with two subsets of a year, STS-B and SICK, and copies that lie deeper."""
    for name in ("STS/STS12-en-test/test-gs", "STS/STS13-en-test", "STS/STSBenchmark", "SICK"):
        (tmp_path / name).mkdir(parents=True)
    year = tmp_path / "STS/STS12-en-test"
    for place in (year, year / "test-gs"):
        (place / "STS.input.b.txt").write_text('a dog\ta cat\textra\nit\'s\t"so"\n')
        (place / "STS.gs.b.txt").write_text("1.5\n\n")
    (year / "STS.input.a.txt").write_bytes(b"x\ty\r\n")
    (year / "STS.gs.a.txt").write_bytes(b"5\r\n")
    (tmp_path / "STS/STS13-en-test/STS.input.SMT.txt").write_text("left\tout\n")
    (tmp_path / "STS/STS13-en-test/STS.gs.SMT.txt").write_text("1\n")
    line = 'g\tf\t2012\t7\t3.2\tHe said "no.\tHe did.\tmore\n'
    (tmp_path / "STS/STSBenchmark/sts-dev.csv").write_text(line)
    (tmp_path / "STS/STSBenchmark/sts-test.csv").write_text(2 * line)
    (tmp_path / "SICK/SICK_test_annotated.txt").write_bytes(
        f"{SICK}\r\n6\tone\ttwo\t3.3\tNEUTRAL\r\n".encode()
    )
    return tmp_path


def test_a_folder_holds_its_tasks_once_each(folder):
    source = open_source(str(folder), part=None)
    assert source.tasks == [
        ("sickr", ""), ("sts12", "a"), ("sts12", "b"), ("sts12", "b"), ("stsb-dev", ""),
        ("stsb", ""), ("stsb", ""),
    ]  # fmt: skip
    assert source.pair(2) == ("a dog", "a cat")
    assert source.pair(4) == ('He said "no.', "He did.")
    np.testing.assert_allclose(source.scores, [3.3, 5, 1.5, math.nan, 3.2, 3.2, 3.2], rtol=1e-6)
    assert source.columns == {"text", "pair"}


def test_a_file_or_a_task_can_be_opened_alone(folder):
    dev = open_source(str(folder / "STS/STSBenchmark/sts-dev.csv"), part=None)
    assert (dev.tasks, len(dev)) == ([("stsb-dev", "")], 1)
    year = open_source(str(folder / "STS/STS12-en-test"), part=None)
    assert [task for task, _ in year.tasks] == ["sts12"] * 3
    sick = open_source(str(folder / "SICK/SICK_test_annotated.txt"), part=None)
    assert (sick.class_names, sick.labels.tolist()) == (("NEUTRAL",), [0])


def test_scores_that_do_not_belong_to_the_pairs_are_refused(folder):
    (folder / "STS/STS12-en-test/STS.gs.b.txt").write_text("1.5\n")
    with pytest.raises(DataError, match="shorter than the pairs: 1 for 2"):
        open_source(str(folder), part=None)
    (folder / "STS/STS12-en-test/STS.gs.b.txt").write_text("1.5\nmany\n")
    with pytest.raises(DataError, match="'many' is no score") as caught:
        open_source(str(folder), part=None)
    assert caught.value.where.endswith("STS.gs.b.txt:2")


def test_a_line_without_two_sentences_and_another_head_are_refused(folder):
    (folder / "STS/STSBenchmark/sts-dev.csv").write_text("g\tf\t2012\t7\t3.2\talone\n")
    with pytest.raises(DataError, match="no two sentences"):
        open_source(str(folder), part=None)
    (folder / "SICK/SICK_test_annotated.txt").write_text("id\tsentence\n")
    with pytest.raises(DataError, match="the columns are id, sentence"):
        open_source(str(folder / "SICK"), part=None)
