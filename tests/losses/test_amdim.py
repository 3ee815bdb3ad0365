"""AMDIM's losses against a slow reference, the spec's golden values and their properties."""

import math

import pytest
import torch
from golden_input import golden
from torch.nn import functional

from sslcli.losses import inner_cross_entropy
from sslcli.losses.amdim import TERMS, amdim, amdim_chance, clipped_cross_entropy, local_nce
from sslcli.losses.local_contrast import contrast


def golden_target():
    """Return z(.31) of 6 rows and 36 columns, [dim, images * places], as four 3x3 maps."""
    i, j = torch.meshgrid(torch.arange(6.0).double(), torch.arange(36.0).double(), indexing="ij")
    flat = torch.sin(0.31 * i + 1.3 * j + 0.17 * i * j + 0.5)
    return flat.view(6, 4, 9).permute(1, 0, 2).reshape(4, 6, 3, 3)


def reference(source, target, clip, penalty):
    """Return the mean loss over images and places, and the penalty, one score at a time."""
    count, dim = source.shape
    places = target.flatten(2)
    scores = torch.einsum("ir,jrl->ijl", source, places) / dim**0.5
    kept = clip * torch.tanh(scores / clip)
    losses = []
    for i in range(count):
        others = torch.cat([kept[i, j] for j in range(len(target)) if j != i])
        for place in range(places.shape[2]):
            every = torch.cat([kept[i, i, place : place + 1], others])
            losses.append(every.logsumexp(0) - kept[i, i, place])
    return torch.stack(losses).mean() + penalty * (scores**2).mean()


def scales(seed, count=3, dim=4):
    generator = torch.Generator().manual_seed(seed)
    shapes = (count, dim), (count, dim, 5, 5), (count, dim, 7, 7)
    return tuple(torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes)


@pytest.mark.parametrize(("clip", "value"), [(20.0, 3.4297392), (2.0, 3.4161546)])
def test_golden_values_of_one_term(clip, value):
    loss = local_nce(golden(0.7), golden_target(), clip, penalty=0.0)
    assert loss.item() == pytest.approx(value, abs=1e-6)
    with_penalty = local_nce(golden(0.7), golden_target(), clip)
    assert (with_penalty - loss).item() == pytest.approx(0.01301967, abs=1e-7)


@pytest.mark.parametrize("clip", [20.0, 0.5])
def test_one_term_is_the_slow_reference(clip):
    (source, _, _), (_, _, target) = scales(1), scales(2)
    found = local_nce(3 * source, target, clip, 0.3)
    torch.testing.assert_close(found, reference(3 * source, target, clip, 0.3))


def test_equal_scores_are_a_guess_among_one_place_and_those_of_other_images():
    loss = local_nce(torch.zeros(4, 6), golden_target().float())
    assert loss.item() == pytest.approx(math.log(28), abs=1e-6)
    zeros = tuple(0 * each for each in scales(1))
    picks = torch.zeros(3, dtype=torch.int64), torch.zeros(3, dtype=torch.int64)
    assert amdim(zeros, zeros, picks).item() == pytest.approx(amdim_chance(3), abs=1e-9)
    assert amdim_chance(3) == pytest.approx(2 * math.log(51) + math.log(99))


def test_other_places_of_the_own_image_move_a_place_by_the_penalty_alone():
    (source, _, _), (_, _, target) = scales(1), scales(2)
    leaf = target.clone().requires_grad_()
    for penalty, moves in ((0.0, False), (0.05, True)):
        place = functional.softplus(torch.zeros(()))  # a fresh graph each time
        scores = torch.einsum("r,rhw->hw", source[0], leaf[0]) / 2
        others = torch.einsum("r,jrhw->jhw", source[0], leaf[1:]).flatten() / 2
        place = torch.cat([scores[2, 3].view(1), others]).logsumexp(0) - scores[2, 3]
        place = place + penalty * scores.square().mean()
        (gradient,) = torch.autograd.grad(place, leaf)
        gradient[0, :, 2, 3] = 0
        assert bool(gradient[0].any()) == moves


def test_scores_stay_below_the_clip_and_the_penalty_does_not():
    (source, _, _), (_, _, target) = scales(1), scales(2)
    bounded = local_nce(1e3 * source, target, clip=2.0, penalty=0.0)
    assert bounded.item() < math.log(1 + 2 * 49 * math.exp(4)) + 1e-9
    assert local_nce(1e3 * source, target, clip=2.0, penalty=0.05).item() > 1e3
    assert local_nce(1e3 * source, target, clip=0.0, penalty=0.0).item() > 100


def test_the_whole_loss_is_half_the_sum_of_six_terms():
    a, b, (one, two) = scales(1), scales(2), (torch.tensor([0, 7, 24]), torch.tensor([3, 3, 20]))
    rows = torch.arange(3)
    a5, b5 = a[1][rows, :, one // 5, one % 5], b[1][rows, :, two // 5, two % 5]
    pairs = [(a[0], b[1]), (b[0], a[1]), (a[0], b[2]), (b[0], a[2]), (a5, b[1]), (b5, a[1])]
    expected = sum(reference(source, target, 20.0, 0.05) for source, target in pairs) / 2
    torch.testing.assert_close(amdim(a, b, (one, two)), expected)
    torch.testing.assert_close(amdim(b, a, (two, one)), expected)


def test_terms_can_be_left_out_and_global_features_contrasted_alone():
    a, b, none = scales(1), scales(2), (torch.zeros(3, dtype=torch.int64),) * 2
    parts = [amdim(a, b, none, terms=[term]) for term in TERMS]
    torch.testing.assert_close(sum(parts), amdim(a, b, none))
    expected = reference(a[0], b[0][:, :, None, None], 20.0, 0.05)
    expected = (expected + reference(b[0], a[0][:, :, None, None], 20.0, 0.05)) / 2
    torch.testing.assert_close(amdim(a, b, none, terms=["1->1"]), expected)


@pytest.mark.parametrize("terms", [TERMS, ("1->1", "5->5")])
def test_shares_of_the_images_as_sources_average_to_the_whole(terms):
    a, b, picks = scales(1, count=4), scales(2, count=4), torch.tensor([4, 0, 17, 9])
    whole = amdim(a, b, (picks, picks.flip(0)), terms=terms)
    halves = [
        amdim(a, b, (picks[i : i + 2], picks.flip(0)[i : i + 2]), terms=terms, start=i)
        for i in (0, 2)
    ]
    torch.testing.assert_close(sum(halves) / 2, whole)


def test_the_order_of_images_does_not_matter():
    a, b, picks, order = scales(1), scales(2), torch.tensor([4, 0, 17]), torch.tensor([2, 0, 1])
    turned = (tuple(each[order] for each in view) for view in (a, b))
    expected = amdim(a, b, (picks, picks))
    torch.testing.assert_close(amdim(*turned, (picks[order], picks[order])), expected)


def test_an_image_alone_is_refused():
    a, zero = scales(1, count=1), torch.zeros(1, dtype=torch.int64)
    with pytest.raises(ValueError, match="no other image"):
        amdim(a, a, (zero, zero))


def test_clipped_cross_entropy_counts_labelled_rows_and_penalises_all():
    logits, labels = 30 * golden(0.7), torch.tensor([0, -1, 5, 2])
    kept = 10 * torch.tanh(logits / 10)
    known = torch.tensor([0, 2, 3])
    expected = functional.cross_entropy(kept[known], labels[known])
    expected = expected + 1e-3 * (logits**2).mean()
    torch.testing.assert_close(clipped_cross_entropy(logits, labels, 10.0, 1e-3), expected)
    nobody = clipped_cross_entropy(logits, torch.full((4,), -1), 10.0, 1e-3)
    torch.testing.assert_close(nobody, 1e-3 * (logits**2).mean())


@pytest.mark.parametrize(("clip", "penalty"), [(20.0, 0.05), (0.5, 0.3), (100.0, 0.05), (0.0, 0.0)])
def test_its_gradient_is_that_of_the_slow_reference(clip, penalty):
    (source, _, _), (_, _, target) = scales(1), scales(2)
    one, two = ([x.clone().requires_grad_() for x in (source, target)] for _ in range(2))
    (3 * local_nce(*one, clip, penalty)).backward()
    slow = reference(*two, clip, penalty) if clip else reference(*two, 1e6, penalty)
    (3 * slow).backward()
    for found, expected in zip(one, two, strict=True):
        torch.testing.assert_close(found.grad, expected.grad, rtol=1e-6, atol=1e-9)


def test_rows_are_passed_over_in_blocks_with_the_same_result(monkeypatch):
    (source, _, _), (_, _, target) = scales(1, count=4), scales(2, count=4)
    whole = local_nce(source, target, 2.0)
    monkeypatch.setattr(inner_cross_entropy, "_BLOCK", 400)  # two rows of 4 * 49 scores
    torch.testing.assert_close(local_nce(source, target, 2.0), whole)


def test_an_image_is_found_when_a_place_of_its_own_scores_above_all_of_others():
    source, target = torch.eye(2, 4), torch.zeros(4, 4)  # two places of two images
    target[0, 0], target[3, 1], target[1, 1] = 1.0, 1.0, 2.0
    found = contrast(source, target, torch.arange(2), 2, 20.0, 0.05).found
    assert found.tolist() == [0.5, 0.0]
