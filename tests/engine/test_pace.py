import json

import pytest
import torch

from sslcli.engine import pace
from sslcli.engine.pace import Pace, machine_pace, measure_pace


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Keep the times of a test on an idle machine to itself, and forget those of this process."""
    monkeypatch.setattr("os.getloadavg", lambda: (0.0, 0.0, 0.0))
    monkeypatch.setenv("SSL_CACHE", str(tmp_path))
    machine_pace.cache_clear()
    yield tmp_path / "pace"
    machine_pace.cache_clear()


def test_times_are_milliseconds_and_leave_the_random_state_alone():
    before = torch.get_rng_state()
    found = measure_pace()
    assert all(0 < each < 10_000 for pair in (found.convolution, found.product) for each in pair)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_machine_is_timed_once(cache, monkeypatch):
    made = iter([Pace((2.0, 1.0), (4.0, 1.0)), Pace((9.0, 9.0), (9.0, 9.0))])
    monkeypatch.setattr(pace, "measure_pace", lambda: next(made))
    first = machine_pace()
    machine_pace.cache_clear()
    assert machine_pace() == first
    (entry,) = cache.iterdir()
    assert json.loads(entry.read_text())["machine"][1] == str(torch.__version__)


def test_rounds_that_disagree_are_repeated_and_the_best_that_never_agree_not_kept(
    cache, monkeypatch
):
    spreads = [2.0, 1.1, 9.0, 3.0, 4.0]
    monkeypatch.setattr(
        pace, "measure_pace", lambda: Pace((2.0, 1.0), (4.0, 1.0), spread=spreads.pop(0))
    )
    assert machine_pace().spread == 1.1
    (entry,) = cache.iterdir()
    entry.unlink()
    machine_pace.cache_clear()
    assert machine_pace().spread == 3.0
    assert not list(cache.iterdir())
    assert not spreads


def test_times_beside_other_work_are_not_kept(cache, monkeypatch):
    monkeypatch.setattr(pace, "measure_pace", lambda: Pace((2.0, 1.0), (4.0, 1.0)))
    monkeypatch.setattr("os.getloadavg", lambda: (1e6, 0.0, 0.0))
    assert machine_pace().gain == 2.0
    assert not cache.exists()


def test_other_threads_are_timed_anew_and_so_is_a_damaged_entry(cache, monkeypatch):
    made = iter(Pace((float(n), 1.0), (1.0, 1.0)) for n in (1, 2, 3))
    monkeypatch.setattr(pace, "measure_pace", lambda: next(made))
    machine_pace()
    monkeypatch.setattr(torch, "get_num_threads", lambda: 77)
    machine_pace.cache_clear()
    assert machine_pace().convolution == (2.0, 1.0)
    for entry in cache.iterdir():
        entry.write_text('{"convolution": [0, "x"]}')
    machine_pace.cache_clear()
    assert machine_pace().convolution == (3.0, 1.0)
