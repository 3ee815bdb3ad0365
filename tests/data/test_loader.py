import tarfile
import time

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as pil

from sslcli.config.pixels import Pixels
from sslcli.config.views import ViewConfig
from sslcli.data.evaluation import resize_and_crop
from sslcli.data.images import streamed
from sslcli.data.images.store import pack
from sslcli.data.images.views import Views
from sslcli.data.loader import TrainLoader, eval_batches
from sslcli.data.sources.open import Source, Subset, open_source
from sslcli.data.sources.sentences import Sentences
from sslcli.data.unreadable import refuse_empty
from sslcli.errors import ConfigError, DataError

PIXELS = Pixels(8, (0.5,) * 3, (0.25,) * 3)


def views(count=2, size=8):
    return Views([ViewConfig(count=count, size=size, crop_scale=(0.3, 1), flip=0.5)], PIXELS, 0)


def loader(source, data, batch_size=4, drop_last=False, **how):
    plain = {"batch_size": batch_size, "seed": 0, "device": "cpu", "drop_last": drop_last}
    return TrainLoader(source, data, views(), **(plain | how))


def contents(batches):
    """Return the bytes of everything in batches."""
    return [
        b"".join(t.numpy().tobytes() for t in (*batch.views, batch.rows, batch.labels))
        for batch in batches
    ]


@pytest.fixture
def uniform(tmp_path, write_files):
    """Twelve images of one size in two classes."""
    root = write_files(tmp_path / "uniform", {f"{row % 2}/{row:02}.png": row for row in range(12)})
    return open_source(str(root), part=None)


@pytest.fixture
def mixed(tmp_path, write_tar, encode):
    """Twelve images of several sizes in two classes, in an archive."""
    members = {f"{row % 2}/{row}.png": encode(row, (8 + row % 3, 9)) for row in range(12)}
    return open_source(str(write_tar(tmp_path / "mixed.tar", members)), part=None)


def test_images_of_one_size_are_packed_and_others_streamed(uniform, mixed, options):
    assert loader(uniform, options()).mode == "packed in memory"
    assert loader(mixed, options()).mode == "streamed (images differ in size)"


@pytest.mark.parametrize("kind", ["uniform", "mixed"])
def test_batches_hold_views_rows_and_labels(kind, request, options):
    source = request.getfixturevalue(kind)
    train = loader(source, options(), batch_size=5)
    batches = list(train.epoch(0))
    assert [len(batch) for batch in batches] == [5, 5, 2]
    assert len(train) == 3
    assert sorted(torch.cat([batch.rows for batch in batches]).tolist()) == list(range(12))
    for batch in batches:
        assert [view.shape for view in batch.views] == [(len(batch), 3, 8, 8)] * 2
        assert batch.labels.tolist() == source.labels[batch.rows].tolist()


@pytest.mark.parametrize("kind", ["uniform", "mixed"])
def test_resume_within_an_epoch_sees_the_same_bytes(kind, request, options):
    train = loader(request.getfixturevalue(kind), options())
    assert contents(train.epoch(3, start=1)) == contents(train.epoch(3))[1:]
    assert contents(train.epoch(3)) != contents(train.epoch(4))


def test_workers_change_no_byte(mixed, options):
    alone, helped = (loader(mixed, options(workers=workers)) for workers in (0, 2))
    for epoch in range(2):
        assert contents(helped.epoch(epoch)) == contents(alone.epoch(epoch))
    next(iter(helped.epoch(0)))  # a pass that is broken off
    assert contents(helped.epoch(5, start=2)) == contents(alone.epoch(5, start=2))


def test_global_random_state_is_left_alone(mixed, options):
    state = torch.get_rng_state()
    list(loader(mixed, options()).epoch(0))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("kind", ["uniform", "mixed"])
def test_processes_share_the_batches_of_one(kind, request, options):
    source = request.getfixturevalue(kind)
    alone = list(loader(source, options()).epoch(0))
    ranks = [list(loader(source, options(), rank=r, world_size=2).epoch(0)) for r in range(2)]
    for batch, *shares in zip(alone, *ranks, strict=True):
        rows = torch.cat([share.rows for share in shares])
        first = torch.cat([share.views[0] for share in shares])
        assert torch.equal(first[rows.argsort()], batch.views[0][batch.rows.argsort()])


@pytest.mark.parametrize("size", [(8, 8), (9, 8)], ids=["packed", "streamed"])
def test_unreadable_image_is_replaced_by_the_next_row(tmp_path, write_files, encode, options, size):
    images = {f"{row}.png": encode(row, size if row == 4 else (8, 8)) for row in range(6)}
    root = write_files(tmp_path / "bad", images | {"2.png": b"", "5.png": b"broken"})
    train = loader(open_source(str(root), part=None), options(max_bad_fraction=0.4))
    rows = torch.cat([batch.rows for batch in train.epoch(0)]).tolist()
    assert sorted(rows) == [0, 0, 1, 3, 3, 4]
    assert sorted(train.bad) == [2, 5]
    assert "2.png" in train.bad[2]


@pytest.mark.parametrize("size", [(8, 8), (9, 8)], ids=["packed", "streamed"])
@pytest.mark.parametrize("share", [0.3, 1.0])
def test_too_many_unreadable_images_end_the_run(
    tmp_path, write_files, encode, options, size, share
):
    good = {} if share == 1 else {"0.png": encode(0), "1.png": encode(1, size)}
    root = write_files(tmp_path / "bad", {"2.png": b"", "5.png": b"broken"} | good)
    source = open_source(str(root), part=None)
    with pytest.raises(DataError, match="unreadable"):
        list(loader(source, options(max_bad_fraction=share), batch_size=2).epoch(0))
    with pytest.raises(DataError, match="unreadable"):
        list(eval_batches(source, options(max_bad_fraction=share), 2, "cpu"))


@pytest.mark.parametrize("size", [(8, 8), (9, 8)], ids=["packed", "streamed"])
def test_the_limit_of_unreadable_images_is_of_the_whole_set(
    tmp_path, write_files, encode, options, size
):
    files = {f"{row:02}.png": row for row in range(20)} | {"03.png": b"", "19.png": encode(1, size)}
    source = open_source(str(write_files(tmp_path, files)), part=None)
    part, data = Subset(source, np.arange(6), "part"), options(max_bad_fraction=0.05)
    assert sum(len(rows) for _, rows in eval_batches(part, data, 2, "cpu")) == 5
    assert len(list(loader(part, data, batch_size=2).epoch(0))) == 3
    with pytest.raises(DataError, match="1 of 1 images"):
        list(eval_batches(Subset(source, np.arange(3, 4), "one"), data, 2, "cpu"))
    with pytest.raises(DataError, match="no images"):
        list(eval_batches(Subset(source, np.arange(0), "none"), data, 2, "cpu"))


def test_too_few_images_for_a_batch_are_refused(uniform, options):
    with pytest.raises(ConfigError, match="too few"):
        loader(uniform, options(), batch_size=13, drop_last=True)


def test_too_few_sentences_are_called_so(options):
    with pytest.raises(ConfigError, match="1 sentences are too few for one batch of 4"):
        loader(Sentences("s", ["one"]), options(), drop_last=True)
    with pytest.raises(DataError, match="there are no sentences in it"):
        refuse_empty(Sentences("s", []))


def test_sentences_are_refused(tmp_path, options):
    (tmp_path / "s.txt").write_text("one\ntwo\n")
    with pytest.raises(DataError, match="not images"):
        loader(open_source(str(tmp_path / "s.txt"), part=None), options(), batch_size=1)


def test_set_beyond_the_budget_is_mapped_and_gives_the_same_bytes(uniform, options):
    mapped = loader(uniform, options(memory_budget_gib=1000 / 2**30))
    assert mapped.mode == "memory-mapped"
    assert contents(mapped.epoch(0)) == contents(loader(uniform, options()).epoch(0))


def test_set_far_beyond_the_budget_is_streamed(uniform, options):
    tiny = options(memory_budget_gib=10 / 2**30)
    assert "times the memory budget" in loader(uniform, tiny).mode
    pack(uniform, options())  # what others have decoded changes nothing
    assert "times the memory budget" in loader(uniform, tiny).mode


def test_set_of_too_many_images_is_streamed_undecoded(uniform, options, monkeypatch):
    monkeypatch.setattr(Source, "load", None)
    few = options(max_packed_images=11)
    assert loader(uniform, few).mode == "streamed (12 images are too many to decode first)"


def test_processes_of_a_machine_share_its_memory_budget(uniform, options):
    fits = options(memory_budget_gib=12 * 3 * 8 * 8 / 2**30)
    modes = [loader(uniform, fits, machine_share=share).mode for share in (1, 2, 50)]
    assert modes == ["packed in memory", "memory-mapped", "memory-mapped"]


def test_waiting_is_measured_for_streamed_images(mixed, options, monkeypatch):
    train = loader(mixed, options())
    before = train.waited
    monkeypatch.setattr(
        Source, "load", lambda self, row: time.sleep(0.005) or np.zeros((8, 8, 3), np.uint8)
    )
    list(train.epoch(0))
    assert before == 0
    assert train.waited > 12 * 0.005


def test_packed_images_are_never_waited_for(uniform, options):
    train = loader(uniform, options())
    list(train.epoch(0))
    assert train.waited == 0
    assert train.remedy == ""


def test_remedy_names_workers_cores_and_what_keeps_images_from_being_packed(
    mixed, options, monkeypatch
):
    train = loader(mixed, options(workers=1))
    monkeypatch.setattr(streamed, "core_count", lambda: 4)
    assert "the workers are 1 and the cores 4: raise data.workers" in train.remedy
    monkeypatch.setattr(streamed, "core_count", lambda: 1)
    assert "resize the images to one size" in train.remedy
    assert "raise data.workers" not in train.remedy


def test_remedy_counts_the_workers_of_all_processes_of_the_machine(mixed, options, monkeypatch):
    monkeypatch.setattr(streamed, "core_count", lambda: 4)
    remedy = loader(mixed, options(workers=1), machine_share=4).remedy
    assert "the workers are 4 and the cores 4: resize" in remedy


def test_files_that_vanish_end_the_run_before_each_was_tried(
    tmp_path, write_files, encode, options, monkeypatch
):
    files = {f"{row:02}.png": encode(row, (8, 8 + row)) for row in range(40)}
    source = open_source(str(write_files(tmp_path / "gone", files)), part=None)
    train, tried = loader(source, options(max_bad_fraction=0.1)), []
    for file in files:
        (tmp_path / "gone" / file).unlink()
    load = Source.load
    monkeypatch.setattr(Source, "load", lambda self, row: tried.append(row) or load(self, row))
    with pytest.raises(DataError, match="unreadable"):
        next(train.epoch(0))
    assert len(tried) == 5


def test_workers_report_unreadable_images_again_after_a_pass_broken_off(
    tmp_path, write_files, encode, options
):
    images = {f"{row}.png": encode(row, (8, 8 + row)) for row in range(6)} | {"3.png": b""}
    source = open_source(str(write_files(tmp_path / "bad", images)), part=None)
    train = loader(source, options(max_bad_fraction=0.4, workers=1), batch_size=1)
    next(train.epoch(0))  # the worker has met the bad row by now, unheard
    assert len(list(train.epoch(1))) == 6
    assert list(train.bad) == [3]


def test_evaluation_leaves_images_of_the_right_size_alone(uniform, options):
    ((images, rows),) = eval_batches(uniform, options(), 20, "cpu")
    pixels = np.stack([uniform.load(row) for row in range(12)]).transpose(0, 3, 1, 2)
    assert rows.tolist() == list(range(12))
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(images, (torch.from_numpy(pixels).float() / 255 - 0.5) / 0.25)


def test_evaluation_streams_what_it_packs(uniform, options):
    packed = list(eval_batches(uniform, options(image_size=6, resize=7), 5, "cpu"))
    tiny = options(image_size=6, resize=7, memory_budget_gib=10 / 2**30, workers=2)
    streamed = list(eval_batches(uniform, tiny, 5, "cpu"))
    for (images, rows), (others, their_rows) in zip(packed, streamed, strict=True):
        assert torch.equal(rows, their_rows)
        assert torch.equal(images, others)


def test_evaluation_leaves_unreadable_images_out(tmp_path, write_files, options):
    files = {"0.png": 0, "1.png": b"", "2.png": 2, "3.png": b""}
    source = open_source(str(write_files(tmp_path / "bad", files)), part=None)
    rows = [rows for _, rows in eval_batches(source, options(max_bad_fraction=0.5), 1, "cpu")]
    assert torch.cat(rows).tolist() == [0, 2]


@pytest.mark.parametrize("shape", [(40, 60), (60, 41), (20, 25), (32, 33), (300, 12)])
@pytest.mark.parametrize("resize", [None, 36])
@pytest.mark.parametrize("kind", ["bilinear", "bicubic"])
def test_resize_and_crop_equal_torchvision_on_pillow_to_one_level(shape, resize, kind):
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    expected = pil.center_crop(
        pil.resize(Image.fromarray(pixels), [resize or 32], InterpolationMode(kind)), [32, 32]
    )
    found = resize_and_crop(torch.from_numpy(pixels).permute(2, 0, 1)[None], 32, resize, kind)
    difference = found[0].permute(1, 2, 0).numpy().astype(int) - np.asarray(expected)
    assert np.abs(difference).max() <= 1


def test_sources_of_the_shared_archive_survive_workers(tmp_path, mixed, options):
    assert tarfile.is_tarfile(mixed.paths[0])
    part = Subset(mixed, np.arange(6), "six")
    assert contents(loader(part, options(workers=1)).epoch(0)) == contents(
        loader(part, options(workers=0)).epoch(0)
    )
