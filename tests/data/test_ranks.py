"""Any number of processes sees what one sees; ranks are simulated in this process."""

import numpy as np
import pytest
import torch

from sslcli.config.pixels import Pixels
from sslcli.config.views import ViewConfig
from sslcli.data.images.views import Views
from sslcli.data.loader import TrainLoader
from sslcli.data.sources.open import open_source
from sslcli.errors import ConfigError

PIXELS = Pixels(8, (0.5,) * 3, (0.25,) * 3)
ROWS = 31  # in batches of 12, the last of 7: uneven among 2, 3 and 4 processes


@pytest.fixture(params=["packed", "streamed", "two shards"])
def source(request, tmp_path, write_tar, encode):
    """A set of images; two shards are fewer than ranks times workers."""
    wide = 9 if request.param == "packed" else 8
    rows = np.array_split(np.arange(ROWS), 2 if request.param == "two shards" else 1)
    for shard, members in enumerate(rows):
        images = {
            f"{row % 2}/{row}.png": encode(row, (wide + row % (10 - wide), 9)) for row in members
        }
        write_tar(tmp_path / f"train-{shard}.tar", images)
    return open_source(str(tmp_path / "train-*.tar"), part=None)


def loaders(source, data, world_size, batch_size=12, drop_last=False, **how):
    views = Views([ViewConfig(count=2, size=8, crop_scale=(0.3, 1), flip=0.5)], PIXELS, 0)
    fixed = {"batch_size": batch_size, "seed": 0, "device": "cpu", "drop_last": drop_last}
    return [
        TrainLoader(source, data, views, rank=rank, world_size=world_size, **fixed, **how)
        for rank in range(world_size)
    ]


def global_batches(ranks, epoch=0, start=0):
    """Return the bytes of every view by row, of each global batch."""
    batches = []
    for shares in zip(*(rank.epoch(epoch, start) for rank in ranks), strict=True):
        rows = torch.cat([share.rows for share in shares]).tolist()
        views = torch.cat([torch.stack(share.views, dim=1) for share in shares])
        found = {row: view.numpy().tobytes() for row, view in zip(rows, views, strict=True)}
        assert len(found) == len(rows)
        batches.append(found)
    return batches


@pytest.mark.parametrize("world_size", [2, 3, 4])
def test_global_batches_are_those_of_one_process(source, options, world_size):
    alone = global_batches(loaders(source, options(), 1), epoch=1)
    assert sorted(row for batch in alone for row in batch) == list(range(ROWS))
    assert global_batches(loaders(source, options(), world_size), epoch=1) == alone


def test_run_goes_on_with_another_number_of_processes(source, options):
    unbroken = global_batches(loaders(source, options(), 1), epoch=2)
    began = global_batches(loaders(source, options(), 2), epoch=2)[:1]
    went_on = global_batches(loaders(source, options(), 3), epoch=2, start=1)
    assert began + went_on == unbroken


def test_workers_beyond_the_shards_change_nothing(source, options):
    alone = global_batches(loaders(source, options(), 1))
    assert global_batches(loaders(source, options(workers=2), 2)) == alone


def test_drop_last_leaves_the_same_rows_out(source, options):
    alone = global_batches(loaders(source, options(), 1, drop_last=True))
    assert [len(batch) for batch in alone] == [12, 12]
    assert global_batches(loaders(source, options(), 4, drop_last=True)) == alone


def test_weights_say_how_uneven_the_last_batch_is(source, options):
    ranks = loaders(source, options(), 3)
    weights = [[batch.weight for batch in rank.epoch(0)] for rank in ranks]
    assert weights == [[1, 1, 9 / 7], [1, 1, 6 / 7], [1, 1, 6 / 7]]


@pytest.mark.parametrize(("world_size", "batch_size"), [(1, 15), (4, 12), (3, 27)])
def test_last_batch_too_small_for_batch_norm_is_refused(source, options, world_size, batch_size):
    last = ROWS % batch_size
    with pytest.raises(
        ConfigError, match=f"has {last} of 31 images and needs {2 * world_size}"
    ) as e:
        loaders(source, options(), world_size, batch_size, least=2)
    assert "train.drop_last=true" in e.value.hint
    loaders(source, options(), world_size, batch_size, least=2, drop_last=True)


def test_last_batch_that_leaves_a_process_without_images_is_refused(source, options):
    with pytest.raises(ConfigError, match="has 1 of 31 images and needs 3"):
        loaders(source, options(), 3, batch_size=15)


def test_batch_of_one_image_a_process_is_refused_for_batch_norm(source, options):
    with pytest.raises(ConfigError, match="every batch has 3 of 31 images and needs 6") as e:
        loaders(source, options(), 3, batch_size=3, least=2, drop_last=True)
    assert "raise train.batch_size" in e.value.hint
