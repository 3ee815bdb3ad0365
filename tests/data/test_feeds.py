"""Feeds of texts, and of images with their texts: the right ones, wherever they come from."""

from itertools import chain

import numpy as np
import pytest
import torch

from sslcli.config.pixels import Pixels
from sslcli.config.views import TextViewConfig, ViewConfig
from sslcli.data.images.views import Views
from sslcli.data.loader import TrainLoader
from sslcli.data.sources.base import Subset
from sslcli.data.sources.open import open_source
from sslcli.data.sources.sentences import Sentences
from sslcli.data.text.feed import TextViews
from sslcli.data.text.tokenizer import ByteTokenizer

PIXELS = Pixels(8, (0.5,) * 3, (0.25,) * 3)
WORDS = TextViews(ByteTokenizer(), [TextViewConfig(max_length=4), TextViewConfig(max_length=9)])
SENTENCES = Sentences("s", [f"row {row:02}" for row in range(10)])


def loader(source, data, views=None, texts=WORDS, batch_size=4, **how):
    plain = {"seed": 0, "device": "cpu", "drop_last": False, "batch_size": batch_size}
    return TrainLoader(source, data, views, texts=texts, **(plain | how))


def written(tokens):
    """Return the texts that the bytes of tokens spell."""
    pairs = zip(tokens.ids.tolist(), tokens.mask.tolist(), strict=True)
    return [bytes(i - 1 for i, m in zip(*row, strict=True) if m).decode() for row in pairs]


def test_bytes_are_numbered_cut_and_padded():
    tokens = ByteTokenizer().encode(["ab", "", "a\xe9bc"], 4)
    assert tokens.ids.tolist() == [[98, 99, 0, 0], [0] * 4, [98, 0xC3 + 1, 0xA9 + 1, 99]]
    assert tokens.mask.sum(dim=1).tolist() == [2, 0, 4]
    assert ByteTokenizer().encode(["", ""], 4).ids.shape == (2, 1)
    assert ByteTokenizer().encode(["\xff"], 9).ids.max() < ByteTokenizer.vocabulary


def test_texts_are_those_of_the_rows_in_every_view(options):
    train = loader(SENTENCES, options())
    batches = list(train.epoch(0))
    assert [len(batch) for batch in batches] == [4, 4, 2]
    for batch in batches:
        expected = [SENTENCES.texts[row] for row in batch.rows]
        assert batch.views == []
        assert [written(text) for text in batch.texts] == [[t[:4] for t in expected], expected]
    assert (train.mode, train.bad, train.feed.workers) == ("tokenised as needed", {}, 0)


def test_batches_of_like_length_resume_and_are_those_of_one_process(options):
    source = Sentences("s", ["x" * (row * 7 % 10) for row in range(43)])
    alike = options(lengths="alike")
    whole = [batch.rows.tolist() for batch in loader(source, alike, drop_last=True).epoch(1)]
    mixed = [batch.rows.tolist() for batch in loader(source, options(), drop_last=True).epoch(1)]
    assert sorted(chain(*whole)) == sorted(chain(*mixed))
    assert all(np.ptp([len(source.texts[row]) for row in rows]) <= 2 for rows in whole)
    rest = [batch.rows.tolist() for batch in loader(source, alike, drop_last=True).epoch(1, 3)]
    assert rest == whole[3:]
    ranks = [
        loader(source, alike, drop_last=True, rank=rank, world_size=2).epoch(1) for rank in (0, 1)
    ]
    for rows, *parts in zip(whole, *ranks, strict=True):
        assert sorted(rows) == sorted(row for part in parts for row in part.rows.tolist())


def test_resuming_within_an_epoch_and_other_processes_see_the_same_texts(options):
    whole = [written(batch.texts[1]) for batch in loader(SENTENCES, options()).epoch(2)]
    rest = [written(batch.texts[1]) for batch in loader(SENTENCES, options()).epoch(2, start=1)]
    assert rest == whole[1:]
    shares = [loader(SENTENCES, options(), rank=rank, world_size=2).epoch(2) for rank in (0, 1)]
    for texts, *parts in zip(whole, *shares, strict=True):
        assert sorted(texts) == sorted(text for part in parts for text in written(part.texts[1]))


@pytest.fixture(params=["packed", "streamed"])
def captioned(request, tmp_path, write_files, encode):
    """Eight images, the third unreadable, each with its row as a caption."""
    files = {f"{row}.png": encode(row, (8 + (request.param == "streamed"), 8)) for row in range(8)}
    files["0.png"], files["2.png"] = encode(0), b""
    captions = {f"{row}.txt": f"row {row}".encode() for row in range(8)}
    return open_source(str(write_files(tmp_path, files | captions)), part=None)


def pairs(source, data, **how):
    views = Views([ViewConfig(count=2, size=8, crop_scale=(0.3, 1))], PIXELS, 0)
    return loader(source, data, views, **how)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_keeps_its_caption_when_it_stands_in_for_another(captioned, options, workers):
    train = pairs(captioned, options(max_bad_fraction=0.2, workers=workers))
    rows = []
    for batch in train.epoch(1):
        assert [view.shape for view in batch.views] == [(len(batch), 3, 8, 8)] * 2
        assert written(batch.texts[1]) == [f"row {row}" for row in batch.rows]
        rows += batch.rows.tolist()
    assert sorted(rows) == [0, 1, 3, 3, 4, 5, 6, 7]
    assert list(train.bad) == [2]
    assert "texts tokenised" in train.mode


def test_captions_change_nothing_about_the_images(captioned, options):
    data = options(max_bad_fraction=0.2)
    with_texts, without = pairs(captioned, data), pairs(captioned, data, texts=None)
    for ours, theirs in zip(with_texts.epoch(0), without.epoch(0), strict=True):
        assert torch.equal(ours.rows, theirs.rows)
        assert all(map(torch.equal, ours.views, theirs.views))


def test_an_example_has_the_shapes_of_a_batch(captioned, options):
    part = Subset(captioned, np.array([0, 1, 3, 4]), "readable")
    train = pairs(part, options())
    example, batch = train.feed.example(4), next(train.epoch(0))
    assert [view.shape for view in example.views] == [view.shape for view in batch.views]
    assert [view.dtype for view in example.views] == [view.dtype for view in batch.views]
    assert len(example.texts) == len(batch.texts)
    assert [text.ids.shape for text in example.texts] == [(4, 4), (4, 9)]
    assert all(text.mask.all() for text in example.texts)


def test_a_batch_made_by_hand_is_that_of_the_loader(captioned, options):
    part = Subset(captioned, np.array([0, 1, 3, 4]), "readable")
    train, phases = pairs(part, options()), []
    batch = next(train.epoch(0))
    made = train.feed.timed(batch.rows.numpy(), lambda name, times=1.0: phases.append(name))
    assert all(map(torch.equal, made.views, batch.views))
    assert [written(text) for text in made.texts] == [written(text) for text in batch.texts]
    assert set(phases) - {"crop"} == {"decode", "transfer", "views", "tokenise"}


def test_waiting_for_texts_counts(options, monkeypatch):
    train = loader(SENTENCES, options())
    times = iter(range(100))
    monkeypatch.setattr("sslcli.data.waiting.time.perf_counter", lambda: float(next(times)))
    list(train.epoch(0))
    assert train.waited >= 3
    assert "max_length" in train.remedy
