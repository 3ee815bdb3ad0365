"""CLIP's tokenizer gives the numbers of open_clip's."""

from importlib.util import find_spec

import pytest

from sslcli.data.text import clip
from sslcli.data.text.clip import clip_tokenizer
from sslcli.errors import UsageError

needs_open_clip = pytest.mark.skipif(find_spec("open_clip") is None, reason="needs the extra clip")


@needs_open_clip
def test_texts_get_the_published_numbers():
    tokenizer = clip_tokenizer()
    assert tokenizer.vocabulary == 49408
    tokens = tokenizer.encode(["a diagram", "A photo of  a cat."], 77)
    assert tokens.ids.tolist() == [
        [49406, 320, 22697, 49407, 0, 0, 0, 0],
        [49406, 320, 1125, 539, 320, 2368, 269, 49407],
    ]


@needs_open_clip
def test_a_long_text_keeps_its_end():
    (ids,) = clip_tokenizer().encode(["one two three four five"], 4).ids.tolist()
    assert len(ids) == 4
    assert ids[-1] == 49407


@needs_open_clip
def test_numbers_are_those_of_open_clips_own_tokenizer():
    from open_clip.tokenizer import SimpleTokenizer

    texts = ["It's 42 naïve cafés!", "don't—stop", "日本 x_y 3.14", "tab\tand\nline"]
    theirs = SimpleTokenizer()(texts, context_length=40)
    ours = clip_tokenizer().encode(texts, 40)
    for row, ids, mask in zip(theirs, ours.ids, ours.mask, strict=True):
        assert row[row != 0].tolist() == ids[mask].tolist()


def test_without_open_clip_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(clip, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="CLIP's own tokens need open_clip"):
        clip_tokenizer()
