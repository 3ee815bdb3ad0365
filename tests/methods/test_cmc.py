"""CMC against slow references, and its traps."""

import math
from dataclasses import replace

import pytest
import torch
from tiny_images import PROGRESS, pairs
from tiny_instance import stepped
from torch import nn
from torch.nn import functional

from sslcli.config.encoder import EncoderConfig
from sslcli.config.methods.cmc import CMCConfig
from sslcli.engine.chunking import Chunked
from sslcli.errors import ConfigError
from sslcli.losses.cmc import cmc_nce, cmc_softmax
from sslcli.losses.contrastive import clip
from sslcli.losses.nce import candidate_chance, estimated_normalizer
from sslcli.methods import cmc
from sslcli.methods.cmc import CMC
from sslcli.nn.encoders import build_encoder

ROWS = 20
TWO, THREE = ((0,), (1, 2)), ((0,), (1, 2), ("dx", "dy"))


def make(split=TWO, **fields):
    torch.manual_seed(0)
    numbers = {"dim": 5, "temperature": 0.1, "loss": "softmax", "negatives": 6}
    numbers |= {"num_instances": ROWS}
    encoder = build_encoder(EncoderConfig(name="resnet8", width=4, split=split), 12)
    return CMC(CMCConfig(name="cmc", **(numbers | fields)), encoder)


def batch(size=8, seed=1, first=0):
    torch.manual_seed(seed)
    images = torch.randn(size, 3, 12, 12)
    return replace(pairs(size), views=[images], rows=torch.arange(first, first + size))


def seen(method, one):
    """Return the memories' rows that a forward meets at seed 2: [B, 1 + K, D] a view."""
    torch.manual_seed(2)
    drawn = torch.randint(ROWS, (len(one), method.config.negatives))
    index = torch.cat([one.rows[:, None], drawn], dim=1)
    return [bank.rows[index] for bank in method.banks]


def at_seed_2(method, one, progress=PROGRESS):
    torch.manual_seed(2)
    return method(one, progress)


def test_a_view_meets_the_memory_of_the_other_and_all_the_same_rows():
    method, one = make(), batch(first=4)
    a, b = method.embed(one)
    expected = cmc_softmax(a, b, *seen(method, one), 0.1)
    output = at_seed_2(method, one)
    torch.testing.assert_close(output.loss, expected)
    assert output.chance == pytest.approx(2 * math.log(7))


def test_rows_of_a_large_memory_are_copied_and_score_the_same(monkeypatch):
    one = batch()
    expected = at_seed_2(make(), one).loss
    monkeypatch.setattr(cmc, "_FEW", 0)
    torch.testing.assert_close(at_seed_2(make(), one).loss, expected)


def test_nce_estimates_z_of_each_direction_from_the_first_batch():
    method, one = make(loss="nce"), batch()
    (a, b), (rows_a, rows_b) = method.embed(one), seen(method, one)
    units = [functional.normalize(each.detach(), dim=1) for each in (a, b)]
    of = [
        estimated_normalizer(torch.einsum("bd,bkd->bk", unit, rows) / 0.1, ROWS)
        for unit, rows in zip(units, (rows_b, rows_a), strict=True)
    ]
    output = at_seed_2(method, one)
    expected = cmc_nce(a, b, rows_a, rows_b, 0.1, ROWS, tuple(of))
    torch.testing.assert_close(output.loss, expected)
    assert output.chance == pytest.approx(2 * candidate_chance(6))
    method.after_step(PROGRESS, output.carry)
    torch.testing.assert_close(method.normalizers, torch.tensor([[0.0, of[0]], [of[1], 0.0]]))
    later, kept = replace(PROGRESS, step=1), method.normalizers.clone()
    output = method(batch(seed=3, first=8), later)
    method.after_step(later, output.carry)
    assert torch.equal(method.normalizers, kept)


def test_in_the_batch_it_is_twice_clip_and_there_is_no_memory():
    method, one = make(loss="batch", negatives=0, num_instances=None), batch()
    output = stepped(method, one)
    method = make(loss="batch", negatives=0)
    torch.testing.assert_close(output.loss, 2 * clip(*method.embed(one), 10.0))
    assert output.chance == pytest.approx(2 * math.log(8))
    assert len(method.banks) == 0


def test_two_crops_are_shown_to_the_parts_in_turn():
    method, one, other = make(THREE).eval(), batch(), batch(seed=5)
    both = replace(one, views=[one.views[0], other.views[0]])
    first, second, third = method.embed(both)
    torch.testing.assert_close(first, method.embed(one)[0])
    torch.testing.assert_close(second, method.embed(other)[1])
    torch.testing.assert_close(third, method.embed(one)[2])


@pytest.mark.parametrize("graph", ["full", "core"])
@pytest.mark.parametrize("loss", ["softmax", "batch"])
def test_three_views_are_contrasted_in_pairs_of_a_full_graph_or_with_the_core(graph, loss):
    pairs = [(0, 1), (0, 2)] + ([(1, 2)] if graph == "full" else [])
    fields = {"loss": loss, "negatives": 6 if loss == "softmax" else 0}
    method, one = make(THREE, graph=graph, **fields), batch()
    views, expected = method.embed(one), 0.0
    for i, j in pairs:
        if loss == "batch":
            expected = expected + 2 * clip(views[i], views[j], 10.0)
        else:
            rows = seen(method, one)
            expected = expected + cmc_softmax(views[i], views[j], rows[i], rows[j], 0.1)
    torch.testing.assert_close(at_seed_2(method, one).loss, expected)


def test_rows_of_every_view_are_written_after_the_step_by_their_index():
    method, one = make(THREE), batch(first=4)
    before = [bank.rows.clone() for bank in method.banks]
    output = stepped(method, one)
    for view, bank in enumerate(method.banks):
        own = output.carry["embeddings"][:, view]
        moved = functional.normalize((before[view][4:12] + own) / 2, dim=1)
        torch.testing.assert_close(bank.rows[4:12], moved)
        assert torch.equal(bank.rows[12:], before[view][12:])


def test_half_precision_stays_out_of_the_scores():
    method, one = make(loss="nce"), batch()
    embeddings = tuple(each.detach() for each in method.embed(one))
    torch.manual_seed(2)
    exact = method.compare(embeddings, one, PROGRESS).loss
    torch.manual_seed(2)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(method.compare(embeddings, one, PROGRESS).loss, exact)


def test_chunks_of_a_batch_have_the_gradient_of_the_whole():
    gradients = []
    for size in (8, 3):
        method = make(loss="batch", negatives=0).eval()  # whose norms do not see the batch
        Chunked(method, size)(batch(), PROGRESS).loss.backward()
        gradients.append([p.grad for p in method.parameters()])
    torch.testing.assert_close(gradients[1], gradients[0])


def test_accuracy_is_that_of_the_own_row_among_all():
    method, one = make(momentum=0.0), batch()
    for bank, other in zip(method.banks, reversed(method.embed(one)), strict=True):
        bank.rows.mul_(0.1)  # they start longer or shorter than 1
        bank.update(one.rows, other.detach(), 0.0)
    assert at_seed_2(method, one).metrics["contrast_top1"] == 1


def test_an_encoder_that_sees_the_image_as_one_is_refused():
    for split in (None, ((0, 1, 2),)):
        with pytest.raises(ConfigError, match="fewer than two") as caught:
            make(split)
        assert "[[0], [1, 2]]" in caught.value.hint
    with pytest.raises(ConfigError, match="fewer than two"):
        CMC(make().config, nn.Identity())


def test_the_number_of_images_must_be_known_to_a_memory():
    with pytest.raises(ConfigError, match="size of the memory"):
        make(num_instances=None)


@pytest.mark.parametrize(("loss", "negatives"), [("nce", 0), ("softmax", 0), ("batch", 6)])
def test_negatives_that_do_not_suit_the_loss_are_refused(loss, negatives):
    with pytest.raises(ValueError, match="negatives = 0"):
        make(loss=loss, negatives=negatives)
