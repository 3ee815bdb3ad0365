"""The phases that are timed are those of the real loop, and their arithmetic is right."""

import numpy as np
import pytest
import torch
from PIL import Image

from sslcli import assemble
from sslcli.config.presets import resolve
from sslcli.errors import ConfigError
from sslcli.profile.phases import Round, StepTimes, time_phases
from sslcli.profile.preparing import StepRows, own_loader, prepare, worker_processes

PARTS = {"decode": 1.0, "transfer": 0.0, "views": 2.0, "forward+backward": 4.0, "optimiser": 1.0}
CPU = torch.device("cpu")


def make(**settings):
    """Return a training of a tiny network on the data that the settings name."""
    fields = {
        "encoder.width": 4,
        "train.batch_size": 16,
        "train.duration": "1000 epochs",
        "data.workers": 0,
        **settings,
    }
    config = resolve("simsiam/digits", None, fields).config
    source = assemble.open_training(config).train
    return assemble.build_training(config, assemble.build_method(config), source, CPU, "fp32")


@pytest.fixture
def mixed(tmp_path):
    """Return a folder of 40 images that all differ in size."""
    noise = np.random.default_rng(0).integers(0, 256, (80, 80, 3), dtype=np.uint8)
    for index in range(40):
        Image.fromarray(noise[: 20 + index, : 60 - index]).save(tmp_path / f"{index}.png")
    return tmp_path


def ignore(name, times=1.0):
    """Be no stopwatch."""


def test_the_loop_is_compared_with_the_sum_of_the_parts_of_its_round():
    slow = {name: 10 * seconds for name, seconds in PARTS.items()}
    rounds = (Round(PARTS, 3.0, 6.0), Round(slow, 30.0, 60.0), Round(PARTS, 3.0, 6.0))
    times = StepTimes(images=8, steps=3, rounds=rounds)
    assert (times.total, times.network, times.loop) == (8.0, 5.0, 6.0)
    assert times.hidden == 0.25
    assert times.spread == 10.0


def test_the_bottleneck_is_the_longest_part_of_the_slower_side():
    assert StepTimes(8, 3, (Round(PARTS, 3.0, 6.0),)).bottleneck == "forward+backward"
    assert StepTimes(8, 3, (Round(PARTS, 6.0, 6.0),)).bottleneck == "views"


@pytest.mark.parametrize("is_streamed", [False, True])
def test_batches_prepared_by_hand_are_those_of_the_loader(mixed, is_streamed):
    training = make(**({"data.source": str(mixed)} if is_streamed else {}))
    (ours,) = prepare(training, StepRows(training)(0), ignore)
    theirs = next(iter(own_loader(training).epoch(0)))
    assert torch.equal(ours.rows, theirs.rows)
    for own, other in zip(ours.views, theirs.views, strict=True):
        assert torch.equal(own, other)


def test_a_sample_of_a_streamed_batch_counts_as_all_of_it(mixed):
    training = make(**{"data.source": str(mixed), "train.batch_size": 36, "data.holdout": 0})
    counted, laps = {"decode": 0.0, "views": 0.0}, []

    def lap(name, times=1.0):
        counted[name] = counted.get(name, 0.0) + times
        laps.append(name)

    (batch,) = prepare(training, StepRows(training)(0), lap)
    assert laps.count("decode") == 32  # of 36
    assert counted["decode"] == pytest.approx(len(batch))
    assert len(batch) == 36
    assert counted["views"] == 1


def test_every_phase_of_packed_images_takes_time():
    times = time_phases(make(), num_steps=3)
    assert list(times.parts) == ["decode", "transfer", "views", "forward+backward", "optimiser"]
    assert min(times.parts.values()) > 0
    assert (times.images, times.steps) == (16, 3)
    assert times.loop > times.loader > 0


def test_streamed_images_are_also_cropped(mixed):
    training = make(**{"data.source": str(mixed), "train.batch_size": 10, "data.workers": 1})
    times = time_phases(training, num_steps=3)
    assert list(times.parts)[:2] == ["decode", "crop"]
    assert worker_processes(training) == 1


def test_parts_of_an_accumulated_step_add_up():
    training = make(**{"train.accumulate": 2})
    assert StepRows(training)(5).shape == (2, 8)
    assert time_phases(training, num_steps=3).images == 16


def test_hooks_run_and_are_the_methods_own_again_afterwards():
    training, seen = make(), []
    kind = type(training.method)

    class Counting(kind):
        def before_step(self, progress):
            seen.append(progress.step)

    training.method.__class__ = Counting
    time_phases(training, num_steps=3)
    assert len(seen) >= 2 * 3
    assert "before_step" not in vars(training.method)


def rounds_and_stretch(training, steps):
    """Return how many rounds are timed, and how many steps of the loop in a row."""
    told = []
    times = time_phases(training, steps, progress=lambda *pair: told.append(pair))
    num_rounds, to_do = len(times.rounds), told[-1][1]  # parts and loops count twice
    return num_rounds, to_do // (2 * num_rounds) - times.steps // num_rounds


def test_the_loop_is_timed_over_whole_groups_of_batches_that_are_made_together():
    training = make(**{"train.batch_size": 256})  # a CPU makes all of an epoch of them together
    epoch = training.steps_per_epoch
    assert epoch == 5
    assert rounds_and_stretch(training, 3) == (1, epoch)
    assert rounds_and_stretch(training, 4 * epoch) == (2, 2 * epoch)


def test_the_loop_over_streamed_images_is_as_short_as_asked(mixed):
    training = make(**{"data.source": str(mixed), "train.batch_size": 10})
    assert rounds_and_stretch(training, 6) == (3, 2)


def test_progress_ends_at_its_total():
    told = []
    time_phases(make(), num_steps=3, progress=lambda *pair: told.append(pair))
    done, total = told[-1]
    assert done == total
    assert [pair[0] for pair in told] == sorted(pair[0] for pair in told)


def test_too_little_data_for_three_steps_is_refused():
    with pytest.raises(ConfigError, match="fills 2 of the 3 batches of 600") as caught:
        time_phases(make(**{"train.batch_size": 600}))
    assert caught.value.where == "train.batch_size"
