"""InstDisc against slow references, and its traps."""

import math

import pytest
import torch
from tiny_instance import PROGRESS, batch, stepped, tiny_encoder
from torch import nn
from torch.nn import functional

from sslcli.config.methods.instance import InstDiscConfig
from sslcli.data.batch import Batch
from sslcli.engine.accumulation import joined
from sslcli.errors import ConfigError
from sslcli.losses.nce import candidate_chance, estimated_normalizer, instance_nce
from sslcli.methods import instdisc
from sslcli.methods.instdisc import InstDisc


def make(**fields):
    numbers = {"dim": 5, "temperature": 0.1, "negatives": 0, "momentum": 0.5, "num_instances": 20}
    encoder = tiny_encoder()
    return InstDisc(InstDiscConfig(name="instdisc", **(numbers | fields)), encoder)


def embed(method, images):
    return functional.normalize(method.head(method.encoder(images)), dim=1)


def test_without_draws_it_is_the_softmax_over_all_images():
    method, one = make(), batch(first=4)
    output = method(one, PROGRESS)
    scores = embed(method, one.views[0]) @ method.bank.rows.T / 0.1
    shares = scores.softmax(dim=1)[torch.arange(8), torch.arange(4, 12)]
    assert output.loss.item() == pytest.approx(-shares.log().mean().item(), abs=1e-5)
    assert output.chance == pytest.approx(math.log(20))


def test_with_draws_it_is_nce_against_uniform_rows():
    method, one = make(negatives=6), batch()
    torch.manual_seed(2)
    output = method(one, PROGRESS)
    torch.manual_seed(2)
    drawn = torch.randint(20, (8, 6))
    own, all_scores = one.rows, embed(method, one.views[0]) @ method.bank.rows.T / 0.1
    positive, negatives = all_scores[torch.arange(8), own], all_scores.gather(1, drawn)
    normalizer = estimated_normalizer(torch.cat([positive[:, None], negatives], dim=1), 20)
    expected = instance_nce(positive, negatives, 20, normalizer)
    assert output.loss.item() == pytest.approx(expected.item(), abs=1e-4)
    assert output.chance == pytest.approx(candidate_chance(6))


def test_the_first_batch_decides_the_normalizer():
    method = make(negatives=6)
    assert method.normalizer == 0
    stepped(method, batch())
    first = method.normalizer.clone()
    assert first > 0
    stepped(method, batch(seed=2, first=8))
    assert torch.equal(method.normalizer, first)


def test_all_parts_of_the_first_step_decide_the_normalizer():
    method = make(negatives=6)
    outputs = [method(one, PROGRESS) for one in (batch(7), batch(2, seed=2, first=7))]
    first, second = (output.carry["normalizer"][0].item() for output in outputs)
    method.after_step(PROGRESS, joined(outputs, [14 / 9, 4 / 9]).carry)
    assert method.normalizer.item() == pytest.approx((7 * first + 2 * second) / 9, rel=1e-6)


def test_all_rows_are_drawn_and_the_own_one_too(monkeypatch):
    seen = []
    monkeypatch.setattr(instdisc, "instance_nce", lambda *given: seen.append(given) or given[3])
    method, one = make(negatives=200), batch()
    method(one, PROGRESS)
    positive, negatives = seen[0][:2]
    possible = embed(method, one.views[0]) @ method.bank.rows.T / 0.1
    gaps = (negatives[:, :, None] - possible[:, None, :]).abs()  # [B, m, N]
    assert gaps.amin(dim=2).max() < 1e-4
    assert set(gaps[0].argmin(dim=1).tolist()) == set(range(20))
    assert (negatives - positive[:, None]).abs().amin(dim=1).max() < 1e-5


def test_rows_are_written_after_the_step_by_their_index():
    method, one = make(), batch(first=4)
    before = method.bank.rows.clone()
    output = stepped(method, one)
    moved = functional.normalize((before[4:12] + output.carry["embeddings"]) / 2, dim=1)
    torch.testing.assert_close(method.bank.rows[4:12], moved)
    assert torch.equal(method.bank.rows[12:], before[12:])


def test_the_proximal_term_is_the_distance_to_the_former_embedding():
    one = batch()
    plain, held = make()(one, PROGRESS), make(proximal=30.0)(one, PROGRESS)
    method = make()
    gaps = (embed(method, one.views[0]) - method.bank.rows[:8]).square().sum(dim=1)
    added = (held.loss - plain.loss).item()
    assert added == pytest.approx(30 * gaps.mean().item(), rel=1e-4)


def test_accuracy_is_that_of_an_image_among_all():
    method, one = make(momentum=0.0), batch()
    method.bank.update(one.rows, embed(method, one.views[0]).detach(), 0.0)
    assert method(one, PROGRESS).metrics["instance_top1"] == 1
    method.bank.update(one.rows, -embed(method, one.views[0]).detach(), 0.0)
    assert method(one, PROGRESS).metrics["instance_top1"] == 0


@pytest.mark.parametrize("negatives", [0, 6])
def test_half_precision_stays_out_of_the_scores(negatives):
    method = make(negatives=negatives)
    method.encoder = method.head = nn.Identity()  # nothing but the scores could round
    one = Batch([torch.randn(8, 5)], torch.arange(8))
    torch.manual_seed(2)
    exact = method(one, PROGRESS).loss
    torch.manual_seed(2)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(method(one, PROGRESS).loss, exact)


def test_the_number_of_images_must_be_known():
    with pytest.raises(ConfigError, match="size of the memory"):
        make(num_instances=None)
