import numpy as np
import pytest

from sslcli.data.order import epoch_batches, epoch_order, holdout_keys


def test_order_is_a_permutation():
    assert sorted(epoch_order(100, 0, 0)) == list(range(100))


def test_order_is_a_function_of_seed_and_epoch():
    same, again = epoch_order(1000, 3, 5), epoch_order(1000, 3, 5)
    assert np.array_equal(same, again)
    for other in (epoch_order(1000, 4, 5), epoch_order(1000, 3, 6)):
        assert np.mean(same == other) < 0.02


def test_order_stays_what_it_was():
    assert epoch_order(8, 0, 0).tolist() == [7, 4, 5, 6, 2, 3, 1, 0]


def test_every_row_comes_first_equally_often():
    first = [epoch_order(4, 0, epoch)[0] for epoch in range(400)]
    assert np.bincount(first).min() > 70


def test_holdout_keys_do_not_follow_the_order():
    keys = holdout_keys(1000, 0)
    assert abs(np.corrcoef(keys, np.argsort(epoch_order(1000, 0, 0)))[0, 1]) < 0.1


@pytest.mark.parametrize("drop_last", [True, False])
@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_union_over_ranks_is_the_same_for_any_number(world_size, drop_last):
    order = epoch_order(44, 0, 0)
    alone = epoch_batches(order, 8, drop_last=drop_last)
    ranks = [
        epoch_batches(order, 8, drop_last=drop_last, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    for batch, *shares in zip(alone, *ranks, strict=True):
        assert sorted(batch) == sorted(np.concatenate(shares))
        assert len({len(share) for share in shares}) == 1


def test_last_batch_is_cut_so_that_ranks_have_equally_many():
    last = epoch_batches(np.arange(11), 8, drop_last=False, rank=1, world_size=2)[-1]
    assert last.tolist() == [9]


def test_batch_that_does_not_divide_is_refused():
    with pytest.raises(ValueError, match="divide"):
        epoch_batches(np.arange(8), 3, drop_last=True, world_size=2)
