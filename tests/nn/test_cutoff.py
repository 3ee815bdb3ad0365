"""ConSERT's noise cuts exactly as much as its rates say, and only where there are tokens."""

import pytest
import torch

from sslcli.nn.cutoff import dropout_cutoff, feature_cutoff, shuffled_positions, token_cutoff

LENGTHS = torch.tensor([11, 2, 7, 4])
MASK = torch.arange(11) < LENGTHS[:, None]
ONES = torch.ones(4, 11, 10)
RATES = (0.0, 0.15, 0.29, 0.5, 1.0)


@pytest.mark.parametrize("rate", RATES)
def test_counts_are_exact(rate):
    torch.manual_seed(0)
    tokens, features, entries = (
        cut(ONES, MASK, rate) == 0 for cut in (token_cutoff, feature_cutoff, dropout_cutoff)
    )
    for row, n in enumerate(LENGTHS.tolist()):
        assert tokens[row].all(dim=1).sum() == int(n * rate)
        assert tokens[row].sum() == 10 * int(n * rate)
        assert features[row].all(dim=0).sum() == int(10 * rate)
        assert features[row].sum() == 11 * int(10 * rate)
        assert entries[row].sum() == int(n * 10 * rate)
        assert not tokens[row, n:].any()
        assert not entries[row, n:].any()


def test_what_is_kept_is_not_scaled_and_draws_differ_by_row():
    kept = dropout_cutoff(ONES, MASK, 0.5)
    assert set(kept.unique().tolist()) == {0.0, 1.0}
    columns = feature_cutoff(torch.ones(64, 3, 10), torch.ones(64, 3).bool(), 0.5)[:, 0]
    assert len(columns.unique(dim=0)) > 20


def test_every_place_is_cut_equally_often():
    torch.manual_seed(0)
    mask = MASK[:1].expand(4000, -1)
    is_cut = token_cutoff(torch.ones(4000, 11, 1), mask, 0.3)[..., 0] == 0
    torch.testing.assert_close(
        is_cut.float().mean(dim=0), torch.full((11,), 3 / 11), atol=0.03, rtol=0
    )


def test_shuffling_keeps_each_sentence_s_positions_and_those_of_padding():
    torch.manual_seed(0)
    positions = shuffled_positions(MASK)
    assert positions.dtype == torch.int64
    for row, n in enumerate(LENGTHS.tolist()):
        assert sorted(positions[row, :n].tolist()) == list(range(n))
        assert positions[row, n:].tolist() == list(range(n, 11))
    assert (positions[0] != torch.arange(11)).any()


def test_a_rate_beyond_one_is_refused():
    with pytest.raises(ValueError, match="rate"):
        token_cutoff(ONES, MASK, 1.5)
