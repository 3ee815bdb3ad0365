import pytest
import torch
from torch import nn

from sslcli.nn.heads import mlp


def spelled(head: nn.Sequential) -> list[str]:
    """Name each layer as papers do: L with bias, l without, B affine, b fixed, R."""
    letters = []
    for layer in head:
        if isinstance(layer, nn.Linear):
            letters.append("L" if layer.bias is not None else "l")
        elif isinstance(layer, nn.BatchNorm1d):
            letters.append("B" if layer.affine else "b")
        else:
            letters.append("R")
    return "".join(letters)


@pytest.mark.parametrize(
    ("sizes", "options", "layers"),
    [
        ([8, 6, 6, 4], {"output_norm": "fixed"}, "lBRlBRlb"),  # SimSiam's projector, ImageNet
        ([8, 6, 4], {"output_norm": "fixed"}, "lBRlb"),  # and on CIFAR
        ([8, 6, 4], {"output_norm": "affine"}, "lBRlB"),
        ([8, 6, 4], {}, "lBRL"),  # SimSiam's predictor; its projector with BN on hidden only
        ([8, 6, 4], {"hidden_norm": False}, "LRL"),  # MoCo v2; SimSiam without BN
        ([8, 6, 4], {"hidden_bias": True, "output_bias": False}, "LBRl"),  # BYOL
        ([8, 4], {}, "L"),
    ],
)
def test_layers_are_the_papers(sizes, options, layers):
    assert spelled(mlp(sizes, **options)) == layers


def test_maps_a_batch_to_the_last_size():
    assert mlp([8, 6, 6, 4], output_norm="fixed")(torch.randn(5, 8)).shape == (5, 4)


def test_fixed_output_norm_standardises_each_channel():
    out = mlp([8, 16, 4], output_norm="fixed")(torch.randn(256, 8))
    torch.testing.assert_close(out.mean(dim=0), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(out.std(dim=0, correction=0), torch.ones(4), atol=1e-2, rtol=0)


def test_linear_keeps_pytorchs_draw():
    torch.manual_seed(0)
    ours = mlp([8, 4])[0]
    torch.manual_seed(0)
    assert torch.equal(ours.weight, nn.Linear(8, 4).weight)


@pytest.mark.parametrize("sizes", [[], [8], [8, 0, 4]])
def test_too_few_or_empty_layers_are_an_error(sizes):
    with pytest.raises(ValueError, match="two positive sizes"):
        mlp(sizes)
