"""What CPC's context networks see, and each against a slow reference."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from sslcli.nn.pixel_context import GatedContext, PixelContext

FORMS = {
    "paper": lambda: PixelContext(6, hidden=8, blocks=2),
    "bolts": lambda: PixelContext(6, hidden=8, blocks=2, form="bolts"),
    "gated": lambda: GatedContext(6),
}


def made(name):
    torch.manual_seed(0)
    return FORMS[name]().double()


@pytest.mark.parametrize("name", FORMS)
def test_a_row_sees_its_own_and_none_below(name):
    network = made(name)
    grid = torch.randn(2, 6, 5, 5, dtype=torch.float64, requires_grad=True)
    context = network(grid)
    assert context.shape == grid.shape
    for row in range(5):
        (slope,) = torch.autograd.grad(context[:, :, row].sum(), grid, retain_graph=True)
        assert slope[:, :, row].abs().sum() > 0
        assert torch.equal(slope[:, :, row + 1 :], torch.zeros_like(slope[:, :, row + 1 :]))


@pytest.mark.parametrize(("name", "above"), [("paper", 2), ("gated", 4)])
def test_a_row_sees_as_many_above_as_there_are_layers(name, above):
    grid = torch.randn(1, 6, 7, 5, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(made(name)(grid)[:, :, 6].sum(), grid)
    seen = slope.abs().sum(dim=(0, 1, 3)) > 0
    assert seen.tolist() == [row >= 6 - above for row in range(7)]


def test_columns_are_seen_on_both_sides():
    grid = torch.randn(1, 6, 3, 7, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(made("paper")(grid)[:, :, 2, 3].sum(), grid)
    seen = slope.abs().sum(dim=(0, 1, 2)) > 0
    assert seen.tolist() == [False, True, True, True, True, True, False]


def test_the_papers_form_is_its_pseudocode():
    network = made("paper")
    grid = found = torch.randn(2, 6, 4, 3, dtype=torch.float64)
    for branch in network.branches:
        new = functional.relu(branch.inward(found))
        wide = torch.zeros(2, 8, 4, 5, dtype=torch.float64)
        wide[..., 1:4] = new
        new = functional.conv2d(wide, branch.across.weight, branch.across.bias)
        tall = torch.cat([torch.zeros(2, 8, 1, 3, dtype=torch.float64), new], dim=2)
        new = functional.relu(functional.conv2d(tall, branch.down.weight, branch.down.bias))
        found = found + branch.outward(new)
    torch.testing.assert_close(network(grid), functional.relu(found))


def test_bolts_form_pads_with_ones_and_leaves_edge_columns_to_biases():
    branch = made("bolts").branches[0]
    grid = torch.randn(1, 6, 4, 5, dtype=torch.float64)
    across = functional.conv2d(branch.inward(grid).relu(), branch.across.weight, branch.across.bias)
    assert across.shape[3] == 3
    tall = torch.cat([torch.ones(1, 8, 1, 3, dtype=torch.float64), across], dim=2)
    down = functional.conv2d(tall, branch.down.weight, branch.down.bias, padding=(0, 1))
    torch.testing.assert_close(branch(grid), branch.outward(down.relu()))
    assert torch.equal(down[..., 0], branch.down.bias.view(1, -1, 1).expand(1, 8, 4))


def test_gated_layers_are_masked_3x3_convolutions():
    """Repeat the stack with whole kernels, whose rows below the centre are zero."""
    network = made("gated")
    vertical = horizontal = torch.randn(2, 6, 5, 4, dtype=torch.float64)
    grid = vertical

    def gate(x):
        return torch.tanh(x[:, :6]) * torch.sigmoid(x[:, 6:])

    for number, layer in enumerate(network.layers):
        whole = nn.Conv2d(6, 12, 3, padding=1).double()
        with torch.no_grad():
            whole.weight.zero_()[:, :, :2] = layer.vertical.weight
            whole.bias.copy_(layer.vertical.bias)
        below = whole(vertical)
        new = layer.outward(gate(layer.horizontal(horizontal) + layer.between(below)))
        horizontal = new if number == 0 else horizontal + new
        if number < 3:
            vertical = gate(below if number == 0 else below + layer.residual(vertical))
    torch.testing.assert_close(network(grid), network.outward(horizontal))
