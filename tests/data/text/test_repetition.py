"""ESimCSE's repetition: how often, where, and what is never repeated."""

from itertools import groupby

import numpy as np
import pytest
import torch

from sslcli.config.views import RepeatConfig, TextViewConfig
from sslcli.data.batch import Tokens
from sslcli.data.sources.sentences import Sentences
from sslcli.data.text.feed import TextViews, Tokenised
from sslcli.data.text.learned import learn_words
from sslcli.data.text.repetition import draws, longest_repeated, repeat_tokens, repeat_words

CPU = torch.device("cpu")
ROWS, IDS = torch.arange(400), torch.arange(10, 30)
MASK = torch.arange(20) < 18
PAPER = RepeatConfig(unit="subword", rate=0.32)
CODE = RepeatConfig(unit="subword", rate=0.32, draw="code")


def repeated(config, rows=ROWS, epoch=0):
    ids = IDS.expand(len(rows), -1).clone()
    ids[:, 0], ids[:, 17] = 2, 3
    tokens = Tokens(ids, MASK.expand(len(rows), -1))
    return ids, repeat_tokens(tokens, config, (0, 1, 2, 3, 4), draws(0, epoch, rows, 1, 20))


@pytest.mark.parametrize(("config", "most"), [(PAPER, 5), (CODE, 4)])
def test_the_number_of_repetitions_is_uniform_up_to_its_most(config, most):
    _, found = repeated(config)
    counts = np.bincount(found.mask.sum(dim=1) - 18, minlength=most + 1)
    assert len(counts) == most + 1
    assert counts.min() > 400 / (most + 1) / 2


@pytest.mark.parametrize("config", [PAPER, CODE])
def test_without_neighbours_that_are_equal_the_text_comes_back(config):
    ids, found = repeated(config)
    for before, after, kept in zip(ids, found.ids, found.mask, strict=True):
        once = [number for number, _ in groupby(after[kept].tolist())]
        assert once == before[MASK].tolist()
        assert (after[kept] == 2).sum() == (after[kept] == 3).sum() == 1


def test_a_short_text_repeats_up_to_two_by_the_paper_and_none_by_the_code():
    ids = torch.tensor([[2, 9, 8, 7, 3]]).expand(60, -1)
    tokens, numbers = Tokens(ids, torch.ones(60, 5).bool()), draws(0, 0, torch.arange(60), 1, 5)
    rare = {"unit": "subword", "rate": 0.05}
    paper = repeat_tokens(tokens, RepeatConfig(**rare), (2, 3), numbers)
    code = repeat_tokens(tokens, RepeatConfig(**rare, draw="code"), (2, 3), numbers)
    assert {*paper.mask.sum(dim=1).tolist()} == {5, 6, 7}
    assert code.ids.equal(ids)


def test_words_repeat_whole_and_the_code_spares_the_last():
    for draw, spared in (("paper", False), ("code", True)):
        config = RepeatConfig(unit="word", rate=0.9, draw=draw)
        drawn = [repeat_words("one two three four", config, n) for n in draws(0, 0, ROWS, 1, 4)]
        assert all([w for w, _ in groupby(text.split())][-1] == "four" for text in drawn)
        assert any("two two" in text for text in drawn)
        assert spared == (not any("four four" in text for text in drawn))


def test_a_draw_belongs_to_a_row_and_an_epoch():
    _, whole = repeated(PAPER)
    _, part = repeated(PAPER, ROWS[100:200])
    lengths = whole.mask.sum(dim=1)
    assert lengths[100:200].equal(part.mask.sum(dim=1))
    assert not lengths.equal(repeated(PAPER, epoch=1)[1].mask.sum(dim=1))


@pytest.mark.parametrize("unit", ["subword", "word"])
def test_a_view_with_repetitions_is_longer_than_the_one_beside_it(unit):
    texts = [f"a{i} b{i} c d e f g h" for i in range(64)]
    repeat = RepeatConfig(unit=unit, rate=0.5)
    views = [TextViewConfig(max_length=20), TextViewConfig(max_length=20, repeat=repeat)]
    feed = Tokenised(Sentences("s", texts), TextViews(learn_words(texts, 256), views), CPU)
    plain, longer = feed.texts(torch.arange(64), 0)
    assert plain.mask.sum(dim=1).tolist() == [10] * 64
    assert {*longer.mask.sum(dim=1).tolist()} == {10, 11, 12, 13, 14}
    most = feed.example(3).texts[1].ids.shape[1]
    assert most == longest_repeated(repeat, 20) >= longer.ids.shape[1]
