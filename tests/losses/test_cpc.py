"""CPC's losses against slow references that go cell by cell."""

import math

import pytest
import torch
from torch.nn import functional

from sslcli.losses import inner_cross_entropy
from sslcli.losses.cpc import drawn_info_nce, grid_info_nce

B, D, H, W = 3, 5, 4, 2


def grids():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, B, D, H, W, generator=generator, dtype=torch.float64).unbind(0)


def drawn(offset, count=6):
    positions = B * (H - offset) * W
    generator = torch.Generator().manual_seed(1)
    return torch.randint(positions, (positions, count), generator=generator)


@pytest.mark.parametrize("offset", [1, 2, 3])
def test_every_cell_of_the_batch_is_a_candidate(offset):
    predictions, targets = grids()
    losses = []
    for b in range(B):
        for y in range(H - offset):
            for x in range(W):
                scores = torch.stack(
                    [targets[i, :, r, c] @ predictions[b, :, y, x]
                     for i in range(B) for r in range(H) for c in range(W)]
                )  # fmt: skip
                own = targets[b, :, y + offset, x] @ predictions[b, :, y, x]
                losses.append(scores.logsumexp(0) - own)
    found = grid_info_nce(predictions, targets, offset)
    assert found.item() == pytest.approx(torch.stack(losses).mean().item(), rel=1e-12)


@pytest.mark.parametrize("offset", [1, 3])
def test_drawn_cells_are_those_of_the_rows_that_can_be_targets(offset):
    predictions, targets = grids()
    indices = drawn(offset)
    cells = [(i, r, c) for i in range(B) for r in range(offset, H) for c in range(W)]
    losses, position = [], 0
    for b in range(B):
        for y in range(H - offset):
            for x in range(W):
                ours = [(b, y + offset, x), *(cells[n] for n in indices[position].tolist())]
                scores = torch.stack([targets[i, :, r, c] @ predictions[b, :, y, x]
                                      for i, r, c in ours])  # fmt: skip
                losses.append(scores.logsumexp(0) - scores[0])
                position += 1
    found = drawn_info_nce(predictions, targets, indices, offset)
    assert found.item() == pytest.approx(torch.stack(losses).mean().item(), rel=1e-12)


def test_equal_scores_give_the_logarithm_of_the_candidates():
    _, targets = grids()
    none = torch.zeros_like(targets)
    assert grid_info_nce(none, targets, 2).item() == pytest.approx(math.log(B * H * W))
    assert drawn_info_nce(none, targets, drawn(1, 16), 1).item() == pytest.approx(math.log(17))


def test_a_worked_example_by_hand():
    """Two rows of one cell: the prediction 1 meets the targets 0 above and 2 below."""
    predictions = torch.tensor([1.0, 5.0]).view(1, 1, 2, 1)
    targets = torch.tensor([0.0, 2.0]).view(1, 1, 2, 1)
    expected = math.log(1 + math.exp(-2))
    assert grid_info_nce(predictions, targets, 1).item() == pytest.approx(expected)
    once = torch.zeros(1, 3, dtype=torch.long)  # three times the positive itself
    assert drawn_info_nce(predictions, targets, once, 1).item() == pytest.approx(math.log(4))


@pytest.mark.parametrize("loss", ["grid", "drawn"])
def test_parts_against_all_targets_average_to_the_whole(loss):
    predictions, targets = grids()
    indices = drawn(1)
    parts = []
    for first in range(B):
        one = predictions[first : first + 1]
        rows = slice(first * (H - 1) * W, (first + 1) * (H - 1) * W)
        parts.append(
            grid_info_nce(one, targets, 1, first)
            if loss == "grid"
            else drawn_info_nce(one, targets, indices[rows], 1, first)
        )
    whole = grid_info_nce(predictions, targets, 1)
    if loss == "drawn":
        whole = drawn_info_nce(predictions, targets, indices, 1)
    assert torch.stack(parts).mean().item() == pytest.approx(whole.item(), rel=1e-12)


@pytest.mark.parametrize("offset", [0, 4, -1])
def test_an_offset_without_targets_is_refused(offset):
    with pytest.raises(ValueError, match="does not fit a grid of 4"):
        grid_info_nce(*grids(), offset)


def test_half_precision_is_scored_in_float32():
    predictions, targets = (grid.to(torch.bfloat16) for grid in grids())
    with torch.autocast("cpu", torch.bfloat16):
        found = grid_info_nce(predictions, targets, 1)
    assert found.dtype == torch.float32
    assert found == grid_info_nce(predictions.float(), targets.float(), 1)


@pytest.mark.parametrize("is_drawn", [False, True])
def test_the_gradient_is_that_of_autograd_in_blocks_too(monkeypatch, is_drawn):
    monkeypatch.setattr(inner_cross_entropy, "_BLOCK", 50)  # two rows of 24 cells
    generator = torch.Generator().manual_seed(2)
    rows, columns = torch.randn(2, 24, D, generator=generator, dtype=torch.float64)
    own = torch.randperm(24, generator=generator)
    drawn = torch.randint(24, (24, 7), generator=generator) if is_drawn else None
    one, two = ([x.clone().requires_grad_() for x in (rows, columns)] for _ in range(2))
    found = inner_cross_entropy.inner_cross_entropy(*one, own, drawn)
    (3 * found.loss).backward()
    scores, right, index = two[0] @ two[1].T, own, torch.arange(24).expand(24, 24)
    if drawn is not None:
        index = torch.cat([own[:, None], drawn], dim=1)
        scores, right = scores.gather(1, index), torch.zeros_like(own)
    expected = functional.cross_entropy(scores, right)
    (3 * expected).backward()
    torch.testing.assert_close(found.loss, expected)
    for ours, theirs in zip(one, two, strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)
    others = scores.masked_fill(index == own[:, None], -torch.inf).amax(dim=1)
    assert found.top1 == (scores.gather(1, right[:, None])[:, 0] > others).double().mean()


def test_a_target_that_scores_as_all_others_is_not_found():
    rows, own = torch.ones(4, 2), torch.arange(4)
    assert inner_cross_entropy.inner_cross_entropy(rows, rows, own).top1 == 0
