import time
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torch

from sslcli.data.images.store import NotPacked, foresee, pack
from sslcli.data.sources.open import Source, Subset, open_source


@pytest.fixture
def uniform(tmp_path, write_files):
    """Twelve images of one size in two classes."""
    root = write_files(tmp_path / "uniform", {f"{row % 2}/{row:02}.png": row for row in range(12)})
    return open_source(str(root), part=None)


def test_decoded_images_are_kept(uniform, options, monkeypatch):
    first = pack(uniform, options())
    monkeypatch.setattr(Source, "load", None)
    assert torch.equal(pack(uniform, options()).images, first.images)


def test_decoded_images_follow_edits_in_place(uniform, options, encode):
    before = pack(uniform, options()).images
    Path(uniform.describe(0)).write_bytes(encode(99))
    assert not torch.equal(pack(uniform, options()).images[0], before[0])


@pytest.mark.parametrize("damage", [b"", b"short"])
def test_damaged_cache_is_decoded_again(uniform, options, cache, damage):
    before = pack(uniform, options()).images
    for entry in (cache / "decoded").iterdir():
        entry.write_bytes(damage)
        assert torch.equal(pack(uniform, options()).images, before)


def test_unwritable_cache_decodes_to_memory(uniform, options, monkeypatch, tmp_path):
    expected = pack(uniform, options()).images
    (tmp_path / "file").touch()
    monkeypatch.setenv("SSL_CACHE", str(tmp_path / "file"))
    assert torch.equal(pack(uniform, options()).images, expected)


def test_one_process_decodes_for_all_of_the_machine(uniform, options, monkeypatch):
    load, loaded, stores = Source.load, [], []
    monkeypatch.setattr(
        Source, "load", lambda self, row: loaded.append(row) or time.sleep(0.01) or load(self, row)
    )
    both = [Thread(target=lambda: stores.append(pack(uniform, options()))) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert len(loaded) == 12 + 16  # and the probes of the size
    assert torch.equal(stores[0].images, stores[1].images)


@pytest.mark.parametrize("budget", [1.5, 700 / 2**30], ids=["memory", "mapped"])
def test_subset_is_packed_from_the_whole(uniform, options, budget):
    rows = np.array([7, 2, 11, 3])
    some = pack(Subset(uniform, rows, "some"), options(memory_budget_gib=budget))
    assert some.is_mapped == (budget < 1)
    whole = pack(uniform, options()).images
    assert torch.equal(some.gather(torch.tensor([2, 0])), whole[[11, 7]])


@pytest.mark.parametrize("gib", [1.0, 1e-6, 1e-9])  # in memory, on the disk, and too large for both
def test_a_forecast_says_what_packing_does_without_decoding_it(uniform, options, gib):
    rows = Subset(uniform, np.arange(0, 12, 2), "half")
    for source in (uniform, rows):
        data = options(memory_budget_gib=gib)
        told, found = foresee(source, data), pack(source, data)
        if isinstance(found, NotPacked):
            assert told == found
            continue
        assert told.images.is_meta
        assert len(told) == len(found)
        assert (told.is_mapped, told.images.shape[1:]) == (found.is_mapped, found.images.shape[1:])


def test_a_forecast_knows_images_that_differ(tmp_path, write_files, options, encode):
    sizes = {f"{side}.png": encode(5, size=(side, side)) for side in (8, 9)}
    source = open_source(str(write_files(tmp_path / "mixed", sizes)), part=None)
    assert foresee(source, options()) == pack(source, options())
