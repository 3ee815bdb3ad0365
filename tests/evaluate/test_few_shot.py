import numpy as np
import pytest
import torch

from sslcli.errors import UsageError
from sslcli.evaluate.few_shot import FewShots, draw_rows
from sslcli.evaluate.metrics import accuracy

LABELS = torch.tensor([0, 1, 2, 2, 1, 0, 1, 2, 0, 2, 2, 2])


def test_a_draw_has_so_many_rows_of_each_class():
    for draw in range(5):
        rows = draw_rows(LABELS, 2, seed=0, draw=draw)
        assert LABELS[rows].bincount().tolist() == [2, 2, 2]
        assert len(rows.unique()) == 6


def test_draws_are_functions_of_seed_and_number_and_larger_ones_hold_smaller_ones():
    small, again, large = (draw_rows(LABELS, count, 3, 1) for count in (1, 1, 3))
    assert torch.equal(small, again)
    assert set(small.tolist()) < set(large.tolist())
    drawn = [draw_rows(LABELS, 1, seed, draw) for seed in (3, 4) for draw in range(4)]
    assert len({tuple(rows.tolist()) for rows in drawn}) > 4


def test_every_row_of_a_class_is_drawn_equally_often():
    drawn = torch.cat([draw_rows(LABELS, 1, 0, draw) for draw in range(1200)])
    counts = drawn.bincount(minlength=len(LABELS))[LABELS == 2].numpy()
    assert np.abs(counts - 200).max() < 52  # four deviations


def test_metrics_are_means_over_the_draws():
    seen, steps = [], []

    def measure(rows):
        seen.append(rows)
        right = torch.tensor([0, 1, 1, 1])
        given = right if len(seen) % 2 else 1 - right
        return accuracy(given[:, None], right, 2, "in turn")

    few = FewShots((1, 2), draws=4)
    found = few.measure(LABELS, 0, measure, lambda *each: steps.append(each))
    assert tuple(found) == few.metrics
    assert [len(rows) for rows in seen] == [3] * 4 + [6] * 4
    assert found["top1/2-shot"].mean == found["mean_per_class/1-shot"].mean == 0.5
    assert found["top1/1-shot"].deviation == pytest.approx((1 / 3) ** 0.5)
    assert steps == [(done, 8) for done in range(1, 9)]


def test_more_than_the_smallest_class_has_is_refused_with_its_size():
    names = ("ant", "bee", "cat", "dog")  # no image is of the last
    FewShots((3,)).check(LABELS.numpy(), names)
    with pytest.raises(UsageError) as caught:
        FewShots((1, 5)).check(LABELS.numpy(), names)
    assert caught.value.hint == "at most 3: the smallest class, ant, has 3 training images"


@pytest.mark.parametrize("wrong", [{"counts": (0,)}, {"draws": 1}])
def test_too_small_numbers_are_refused(wrong):
    with pytest.raises(UsageError):
        FewShots(**wrong)
