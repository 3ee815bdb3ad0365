"""Tokenizers of the library: learned ones, those of files, and what they do to a text."""

import pytest

from sslcli.data.sources.sentences import Sentences
from sslcli.data.text.kept import keep, learned, read, recall, remember
from sslcli.data.text.learned import LearnedTokenizer, learn_pieces, learn_words
from sslcli.errors import CheckpointError

TEXTS = ["A red one, above it.", "the red two", "Red above red"]


def test_words_are_numbered_by_how_often_they_come():
    words = learn_words(TEXTS, 64)
    assert words.pieces("Red above two") == ["[CLS]", "red", "above", "two", "[SEP]"]
    assert words.encode(["red"], 8).ids.tolist() == [[2, 5, 3]]  # the most frequent follows [MASK]
    assert words.vocabulary == 5 + len({"a", "red", "one", ",", "above", "it", ".", "the", "two"})
    assert words.encode(["red unheard of"], 8).ids.tolist() == [[2, 5, 1, 1, 3]]
    assert (words.specials, words.mask_token, words.padding) == ((0, 1, 2, 3, 4), 4, 0)


def test_rare_words_share_a_number_and_learning_is_repeatable():
    few = learn_words([f"w{i} w{i % 7}" for i in range(90)], 64)
    assert few.vocabulary == 64
    assert few.digest == learn_words([f"w{i} w{i % 7}" for i in range(90)], 64).digest


def test_a_text_is_cut_before_its_end_and_padded_to_the_longest():
    words = learn_words(TEXTS, 64)
    tokens = words.encode(["red", "the red two the red two"], 5)
    assert tokens.ids[1].tolist()[0::4] == [2, 3]
    assert tokens.mask.tolist() == [[True] * 3 + [False] * 2, [True] * 5]
    assert tokens.ids[0, 3:].tolist() == [0, 0]
    assert words.encode([""], 8).ids.tolist() == [[2, 3]]


def test_the_same_text_gives_the_same_numbers_whatever_comes_with_it():
    pieces = learn_pieces(TEXTS, 64)
    alone = pieces.encode(["the red two"], 9)
    both = pieces.encode(["the red two", "a red one above it"], 9)
    assert both.ids[0][both.mask[0]].tolist() == alone.ids[0].tolist()
    assert pieces.vocabulary <= 64


def test_a_tokenizer_is_a_file_of_its_run(tmp_path):
    words = learn_words([*TEXTS, "kept"], 64)
    keep(remember(words), tmp_path)
    again = read(tmp_path / "tokenizer.json")
    assert again.digest == words.digest
    assert recall(words.digest).encode(["kept"], 9).ids.equal(again.encode(["kept"], 9).ids)
    with pytest.raises(CheckpointError, match="is not there"):
        recall("0" * 64)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(CheckpointError, match="no tokenizer"):
        read(tmp_path / "tokenizer.json")


def test_what_was_learned_of_data_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("SSL_CACHE", str(tmp_path))
    source = Sentences("own", TEXTS)
    first = learned("wordpiece", 64, source)
    monkeypatch.setattr("sslcli.data.text.kept._LEARN", {})
    assert learned("wordpiece", 64, source).digest == first.digest


def test_padding_and_cutting_of_a_file_do_not_count():
    pieces = learn_words(TEXTS, 64)
    pieces._pipeline.enable_padding(length=40)
    pieces._pipeline.enable_truncation(3)
    other = LearnedTokenizer(pieces._pipeline.to_str())
    assert other.digest == pieces.digest
    assert other.encode(["the red two the"], 9).ids.shape == (1, 6)
