"""InvaSpread against its loss, and its traps."""

import pytest
import torch
from tiny_instance import PROGRESS, batch, tiny_encoder

from sslcli.config.methods.instance import InvaSpreadConfig
from sslcli.data.batch import Batch
from sslcli.losses.contrastive import invariant_spread
from sslcli.losses.nce import candidate_chance
from sslcli.methods.invaspread import InvaSpread


def make(**fields):
    encoder = tiny_encoder()
    config = InvaSpreadConfig(name="invaspread", dim=5, temperature=0.1, **fields)
    return InvaSpread(config, encoder)


@pytest.mark.parametrize("negatives", ["all", "hard", "easy"])
def test_loss_compares_both_views_embedded_together(negatives):
    method, one = make(negatives=negatives), batch()
    output = method(one, PROGRESS)
    a, b = method.head(method.encoder(torch.cat(one.views))).chunk(2)
    expected = invariant_spread(a, b, 0.1, negatives)
    assert output.loss.item() == pytest.approx(expected.item(), abs=1e-5)


def test_chance_counts_the_negatives_compared():
    assert make()(batch(), PROGRESS).chance == pytest.approx(candidate_chance(14))
    assert make(negatives="hard")(batch(), PROGRESS).chance == pytest.approx(candidate_chance(7))


def test_accuracy_is_that_of_the_partner_among_all_views():
    method, one = make(), batch()
    same = Batch([one.views[0]] * 2, one.rows)
    assert method(same, PROGRESS).metrics["contrast_top1"] == 1


def test_swapped_views_and_another_order_change_nothing():
    method, one = make(), batch()
    first = method(one, PROGRESS).loss
    order = torch.randperm(8, generator=torch.Generator().manual_seed(0))
    shuffled = Batch([view[order] for view in one.views[::-1]], order)
    assert torch.allclose(first, method(shuffled, PROGRESS).loss, atol=1e-5)
