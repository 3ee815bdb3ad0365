"""A step in parts, even and uneven ones, is a step of the whole batch; the log knows all of it."""

import on_ranks
import pytest
import torch
from toy import even_pieces, piecewise

from sslcli import assemble
from sslcli.config.presets import resolve
from sslcli.config.section import DataFacts
from sslcli.engine import loop
from sslcli.engine.accumulation import accumulation_note, joined
from sslcli.engine.loop import steps, train_step
from sslcli.methods.base import Output

WHOLE = {"batch_size": 32, "accumulate": 1}
PARTS = {"batch_size": 32, "accumulate": 4}  # of 73 images: 8, 8, 8, 8; the same again; 8, 1


def gradient(training, batches):
    train_step(training, batches)
    return torch.cat([p.grad.flatten() for p in training.method.parameters()])


def test_the_gradient_of_each_step_is_that_of_its_whole_batch():
    parts, whole = piecewise(73, **PARTS), piecewise(73, **WHOLE)
    for in_parts, at_once in zip(steps(parts), steps(whole), strict=True):
        in_parts = list(in_parts)
        found, expected = gradient(parts, in_parts), gradient(whole, at_once)
        assert (found - expected).abs().max() < 1e-12
        assert torch.cosine_similarity(found, expected, dim=0) == pytest.approx(1, abs=1e-12)
    assert [len(part) for part in in_parts] == [8, 1]


@pytest.mark.parametrize("images", [95, 96, 97, 64, 5])
def test_every_image_of_an_epoch_is_used_once(images):
    training = piecewise(images, batch_size=64, accumulate=4, drop_last=False)
    for _ in range(2):
        epoch = [
            list(next_step)
            for next_step, _ in zip(steps(training), range(-(-images // 64)), strict=False)
        ]
        rows = torch.cat([part.rows for parts in epoch for part in parts])
        assert sorted(rows.tolist()) == list(range(images))
        training.step += training.steps_per_epoch
    assert training.seen(training.steps_per_epoch) == images


def test_a_part_is_made_when_the_one_before_has_been_used():
    training, told = piecewise(73, **PARTS), []
    whole = training.loader.epoch
    training.loader.epoch = lambda *at, **of: (told.append("made") or b for b in whole(*at, **of))
    forward = training.method.forward
    training.method.forward = lambda *given: told.append("used") or forward(*given)
    for step in steps(training):
        train_step(training, step)
        told.append(len(step))
    assert told[-5:] == ["made", "used", "made", "used", 2]
    assert told[:9] == ["made", "used"] * 4 + [4]


def test_memory_is_given_back_between_the_parts_of_a_step_alone(monkeypatch):
    given = []
    monkeypatch.setattr(loop, "give_back_memory", lambda: given.append(True))
    for form, times in ((WHOLE, 0), (PARTS, 3)):
        training = piecewise(73, **form)
        train_step(training, next(steps(training)))
        assert len(given) == times


def test_the_parts_of_a_step_that_was_not_made_are_passed_over():
    training = piecewise(73, **PARTS)
    stream = steps(training)
    first, second = next(stream), next(stream)
    assert list(first) == []
    assert torch.equal(next(iter(second)).rows, list(training.loader.epoch(0))[4].rows)


def test_with_drop_last_only_whole_steps_are_made():
    training = piecewise(95, batch_size=64, accumulate=4, drop_last=True)
    assert (training.steps_per_epoch, training.seen(3)) == (1, 3 * 64)


def test_the_log_counts_each_image_once(tmp_path):
    found = on_ranks.logs_an_epoch(tmp_path / "parts", 73, PARTS)
    assert found == pytest.approx(on_ranks.logs_an_epoch(tmp_path / "whole", 73, WHOLE), rel=1e-9)
    losses, values = even_pieces(73)
    last_step = values[-9:].mean().item()
    assert found == pytest.approx((losses.mean().item(), last_step, 73.0), rel=1e-9)


@pytest.mark.ddp
@pytest.mark.parametrize("images", [73, 71])
def test_two_processes_log_what_one_does(two, tmp_path, images):
    alone = on_ranks.logs_an_epoch(tmp_path / "alone", images, WHOLE)
    plan = {"batch_size": 32, "accumulate": 2}
    first, second = two(on_ranks.logs_an_epoch, tmp_path / "two", images, plan)
    assert first == second == pytest.approx(alone, rel=1e-9)


def test_outputs_are_joined_by_weight():
    outputs = [
        Output(torch.tensor(loss), {"m": torch.tensor(2 * loss)}, {"z": torch.ones(n)}, None, loss)
        for loss, n in ((1.0, 3), (5.0, 1))
    ]
    whole = joined(outputs, [1.5, 0.5])
    assert (whole.loss, whole.metrics["m"], whole.chance) == (2.0, 4.0, 2.0)
    assert whole.carry["z"].shape == (4,)
    assert whole.embeddings is None


@pytest.mark.parametrize(
    ("preset", "fields", "said"),
    [
        ("simclr/digits", {}, "negatives, BatchNorm's statistics are those of 32 images, not of"),
        ("simclr/digits", {}, "chunk_size"),
        ("swav/digits", {}, "Sinkhorn's assignments"),
        ("instdisc/digits", {"method.negatives": 8}, "estimates of Z"),
        ("simsiam/digits", {}, "BatchNorm's statistics are those of 32 images"),
        ("simsiam/digits", {"train.accumulate": 1}, ""),
        ("jem/digits", {}, ""),
    ],
)
def test_what_accumulation_changes_is_said(preset, fields, said):
    plan = {"train.batch_size": 128, "train.accumulate": 4}
    config = resolve(preset, None, plan | fields).config
    note = accumulation_note(assemble.build_method(config, facts=DataFacts(rows=100)), config.train)
    assert said in note
    assert bool(note) == bool(said)
