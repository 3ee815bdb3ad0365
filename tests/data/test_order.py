import numpy as np
import pytest

from sslcli.data.order import Deal, epoch_order, holdout_keys, of_like_lengths, stratified


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


def deals(n, batch_size, world_size, drop_last=False):
    return [Deal(n, batch_size, drop_last, rank, world_size) for rank in range(world_size)]


@pytest.mark.parametrize("drop_last", [True, False])
@pytest.mark.parametrize("world_size", [1, 2, 3, 4, 12])
def test_union_over_ranks_is_the_same_for_any_number(world_size, drop_last):
    order = epoch_order(43, 0, 0)
    alone = Deal(43, 12, drop_last).batches(order)
    ranks = [deal.batches(order) for deal in deals(43, 12, world_size, drop_last)]
    for batch, *shares in zip(alone, *ranks, strict=True):
        assert sorted(batch) == sorted(np.concatenate(shares))
    assert len(np.concatenate(alone)) == (36 if drop_last else 43)


def test_first_ranks_have_one_row_more_of_an_uneven_last_batch():
    last = [deal.batches(np.arange(11))[-1].tolist() for deal in deals(11, 8, 2)]
    assert last == [[8, 10], [9]]


@pytest.mark.parametrize("world_size", [1, 2, 3, 4])
def test_average_of_weighted_means_is_the_mean_over_the_batch(world_size):
    losses = np.random.default_rng(0).normal(size=31)
    whole = Deal(31, 12, False).batches(np.arange(31))
    dealt = deals(31, 12, world_size)
    for number, rows in enumerate(whole):
        own = [deal.batches(np.arange(31))[number] for deal in dealt]
        means = [deal.weight(number) * losses[x].mean() for deal, x in zip(dealt, own, strict=True)]
        assert np.mean(means) == pytest.approx(losses[rows].mean(), rel=1e-12)


def test_weight_is_exactly_one_when_ranks_have_equally_many():
    assert {deal.weight(i) for deal in deals(12 * 49, 49 * 3, 3) for i in range(4)} == {1.0}


def test_batches_from_a_later_start_are_the_rest():
    deal, order = Deal(43, 12, False, 1, 3), epoch_order(43, 0, 0)
    rest = deal.batches(order, start=2)
    assert [x.tolist() for x in rest] == [x.tolist() for x in deal.batches(order)[2:]]


def test_batch_that_does_not_divide_is_refused():
    with pytest.raises(ValueError, match="divide"):
        Deal(8, 3, True, world_size=2)


def test_a_share_of_every_group_is_chosen_by_the_lowest_keys():
    groups = np.repeat([0, 1, 3, 4], [50, 30, 2, 1])
    keys = holdout_keys(len(groups), seed=0)
    chosen = stratified(groups, 0.5, keys)
    assert np.bincount(groups[chosen], minlength=5).tolist() == [25, 15, 0, 1, 0]
    assert keys[:50][chosen[:50]].max() < keys[:50][~chosen[:50]].min()
    assert (stratified(groups, 0.5, holdout_keys(len(groups), seed=1)) != chosen).any()
    assert np.bincount(groups[stratified(groups, 0.99, keys)]).tolist() == [49, 29, 0, 1]


def test_rows_of_like_length_come_together_and_an_epoch_keeps_its_rows():
    order, lengths = epoch_order(1003, 0, 2), np.arange(1003) % 50
    changed = of_like_lengths(order, lengths, 10, 0, 2)
    assert sorted(changed[:320]) == sorted(order[:320])  # a window of 32 batches
    assert changed[1000:].tolist() == order[1000:].tolist()  # the batch that is not whole
    spread = np.ptp(lengths[changed[:1000]].reshape(-1, 10), axis=1)
    assert spread.mean() < 5 < np.ptp(lengths[order[:1000]].reshape(-1, 10), axis=1).mean()
    firsts = lengths[changed[:320:10]]
    assert firsts.tolist() != sorted(firsts)  # short batches do not all come first
    assert changed.tolist() == of_like_lengths(order, lengths, 10, 0, 2).tolist()
