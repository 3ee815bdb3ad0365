"""The parts of a batch: each sample in one of them, with all that belongs to it."""

import torch

from sslcli.data.batch import Batch, Tokens


def batch(size=10):
    rows = torch.arange(size)
    ids = rows[:, None] * 10 + torch.arange(3)
    views = [torch.randn(size, 3, 2, 2), torch.randn(size, 3, 4, 4)]
    return Batch(views, rows, rows % 3, 0.5, [Tokens(ids, ids % 2 == 0), Tokens(-ids, ids > 4)])


def test_every_sample_is_in_one_chunk_with_its_views_labels_and_texts():
    one = batch()
    parts = list(one.chunks(4))
    assert [len(part) for part in parts] == [3, 3, 2, 2]
    assert {part.weight for part in parts} == {0.5}
    for name in ("rows", "labels"):
        assert torch.equal(torch.cat([getattr(p, name) for p in parts]), getattr(one, name))
    for which in (0, 1):
        assert torch.equal(torch.cat([p.views[which] for p in parts]), one.views[which])
        for name in ("ids", "mask"):
            joined = torch.cat([getattr(p.texts[which], name) for p in parts])
            assert torch.equal(joined, getattr(one.texts[which], name))


def test_a_batch_of_texts_alone_is_chunked_too():
    one = batch()
    parts = list(Batch([], one.rows, texts=one.texts[:1]).chunks(2))
    assert [(len(p), p.views, p.labels, len(p.texts[0])) for p in parts] == [(5, [], None, 5)] * 2
