"""Tables of sentences: columns by name or by place, scores, classes, and lines that are broken."""

import gzip

import pytest

from sslcli.data.sources.open import open_source
from sslcli.errors import DataError


def opened(folder, text, name="own.csv", opened_for="text"):
    (folder / name).write_bytes(text.encode())
    return open_source(str(folder / name), part=None, opened_for=opened_for)


def rows_of(source):
    return [source.sentences(row) for row in range(len(source))]


@pytest.mark.parametrize(
    "text",
    [
        "sent0,sent1,hard_neg\na,b,c\nd,e,f\n",
        "\ufeffanchor,positive,negative\r\na,b,c\r\nd,e,f\r\n",
        "a,b,c\nd,e,f\n",
        '"a","b","c"\n"d","e","f"\n',
    ],
)
def test_three_columns_are_triplets_with_a_head_or_without(text, tmp_path):
    source = opened(tmp_path, text)
    assert rows_of(source) == [("a", "b", "c"), ("d", "e", "f")]
    assert source.columns == {"text", "pair", "triplet"}
    assert (source.text(1), source.pair(1)) == ("d", ("d", "e"))


def test_two_columns_are_pairs_and_one_is_sentences(tmp_path):
    assert opened(tmp_path, "a,b\nd,e\n").columns == {"text", "pair"}
    assert rows_of(opened(tmp_path, "one sentence\nanother\n")) == [("one sentence",), ("another",)]
    assert opened(tmp_path, "a\tb\nd\te\n", "own.tsv").pair(1) == ("d", "e")
    packed = tmp_path / "own.csv.gz"
    packed.write_bytes(gzip.compress(b"sentence1,sentence2\r\na,b\r\n"))
    assert open_source(str(packed), part=None).pair(0) == ("a", "b")


def test_scores_and_classes_belong_to_pairs(tmp_path):
    source = opened(tmp_path, "sentence1,sentence2,score,label\na,b,2.5,same\nc,d,0,other\n")
    assert source.scores.tolist() == [2.5, 0]
    assert [source.class_names[label] for label in source.labels] == ["same", "other"]
    scoreless = opened(tmp_path, "premise,hypothesis\na,b\n")
    assert (scoreless.scores, scoreless.labels) == (None, None)


def test_single_sentences_have_classes_too(tmp_path):
    source = opened(tmp_path, "sentence,label\na dog,pet\na cat,pet\na wolf,wild\n")
    assert (source.columns, rows_of(source)[2]) == ({"text"}, ("a wolf",))
    assert [source.class_names[label] for label in source.labels] == ["pet", "pet", "wild"]
    assert opened(tmp_path, "sentence,source\na dog,web\n", "other.csv").labels is None


def test_broken_lines_and_empty_sentences_are_counted_and_named(tmp_path):
    text = 'sent0,sent1\na,b\n ,c\nd\ne,f\n"g,h\n'
    source = opened(tmp_path, text)
    assert rows_of(source) == [("a", "b"), ("e", "f")]
    (remark,) = source.oddities
    assert remark.what == "3 damaged or empty lines were passed over: 3, 4, 6"
    assert remark.hint == "line 3 has an empty sentence"
    scored = opened(tmp_path, "sentence1,sentence2,score\na,b,much\nc,d,1\n")
    assert scored.oddities[0].hint == "line 2 has 'much' for a score"


def test_what_holds_no_sentences_is_refused(tmp_path):
    with pytest.raises(DataError, match="no sentences"):
        opened(tmp_path, "sent0,sent1\n,\n")
    with pytest.raises(DataError, match="one to three sentences a row, not 4"):
        opened(tmp_path, "a,b,c,d\n")
    with pytest.raises(DataError, match="the columns are a, b"):
        opened(tmp_path, "a,b\nd,e\n", opened_for="image")


def test_equal_rows_have_equal_fingerprints_and_others_do_not(tmp_path):
    prints = [opened(tmp_path, text).fingerprint for text in ("a,b\n", "a,b\n", "a,c\n")]
    assert prints[0] == prints[1] != prints[2]
