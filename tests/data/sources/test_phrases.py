"""The built-in phrases: what their scores mean, and what each part holds."""

import numpy as np
import pytest

from sslcli.data.sources import phrases
from sslcli.data.sources.base import Subset, need, take_part
from sslcli.data.sources.check import check
from sslcli.data.sources.open import open_source


@pytest.fixture(scope="module")
def opened():
    return open_source("phrases", part=None)


def meanings(sentence):
    """Return, for each of the kinds of words, which of its meanings a sentence names."""
    words = f" {sentence.replace(',', '')} "
    found = []
    for slot in (phrases._STROKES, phrases._COLOURS, phrases._DIGITS, phrases._RELATIONS):
        places = {
            words.find(f" {word} "): number for number, slot_words in enumerate(slot)
            for word in slot_words
        }  # fmt: skip
        found.append({number for place, number in places.items() if place >= 0})
    return found


def test_every_row_is_a_pair_with_a_score(opened):
    need(opened, "text", "pair")
    first, second = opened.pair(17)
    assert (opened.text(17), opened.columns) == (first, {"text", "pair"})
    assert first != second
    assert sorted({*opened.scores.tolist()}) == [0, 1, 2, 3, 4, 5, 6]
    assert [len(take_part(opened, part)) for part in ("train", "test")] == [6000, 1500]


def test_a_part_keeps_pairs_and_scores(opened):
    test = take_part(opened, "test")
    again = Subset(test, np.array([3]), "one")
    assert again.pair(0) == opened.pair(6003)
    assert again.scores.tolist() == [opened.scores[6003]]


def test_sentences_that_score_most_mean_the_same_and_others_do_not(opened):
    most = np.flatnonzero(opened.scores == 6)[:50].tolist()
    least = np.flatnonzero(opened.scores == 0)[:50].tolist()
    assert all(meanings(a) == meanings(b) for a, b in map(opened.pair, most))
    assert not any(meanings(a)[0] == meanings(b)[0] for a, b in map(opened.pair, least))


def test_shared_words_alone_tell_part_of_the_score(opened):
    """The figure that text methods are compared with: rank correlation 49.8 % of word overlap."""
    words = [[{*t.replace(",", "").split()} for t in opened.pair(row)] for row in range(6000, 7500)]
    overlap = np.array([len(a & b) / len(a | b) for a, b in words])
    ranks = [np.unique(v, return_inverse=True)[1] for v in (overlap, opened.scores[6000:])]
    assert 0.4 < np.corrcoef(*ranks)[0, 1] < 0.6


def test_version_1_is_what_it_was(opened):
    assert phrases.VERSION == 1, "write down what the new version has"
    assert opened.pair(0) == (
        "the digit 9 in fine scarlet strokes, within a yellow five",
        "a heavy red one to the right of a yellow five",
    )
    assert opened.scores[:8].tolist() == [3, 2, 1, 2, 2, 5, 3, 3]


def test_nothing_is_wrong_with_them():
    report = check("phrases")
    assert (report.ok, report.kind, report.count, report.overlap) == (True, "sentences", 7500, 0)
    assert report.parts == {"train": 6000, "test": 1500}
