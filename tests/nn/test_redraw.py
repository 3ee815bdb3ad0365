"""A network drawn anew has the same distribution and other weights."""

import torch
from torch import nn

from sslcli.nn.redraw import redrawn


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8, 4))


def test_drawn_weights_are_other_weights_of_the_same_distribution():
    first = network()
    for old, new in zip(first.parameters(), redrawn(first).parameters(), strict=True):
        assert torch.equal(old.flatten().sort().values, new.flatten().sort().values)
    correlation = torch.corrcoef(
        torch.stack([first[0].weight.flatten(), redrawn(first)[0].weight.flatten()])
    )
    assert correlation[0, 1].abs() < 0.2


def test_constants_fixed_tensors_and_the_original_stay():
    first = network()
    first[3].weight.requires_grad_(False)
    before = [value.clone() for value in first.state_dict().values()]
    drawn = redrawn(first)
    assert torch.equal(drawn[1].weight, torch.ones(8))
    assert torch.equal(drawn[3].weight, first[3].weight)
    after = first.state_dict().values()
    assert all(torch.equal(old, new) for old, new in zip(before, after, strict=True))
