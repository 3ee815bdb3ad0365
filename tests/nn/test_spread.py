"""The collapse monitors on embeddings whose spread is known."""

import pytest
import torch

from sslcli.nn.spread import effective_rank, embedding_std


def test_random_directions_are_spread_and_a_point_is_not():
    torch.manual_seed(0)
    assert embedding_std(torch.randn(512, 2048)).item() == pytest.approx(1, abs=0.01)
    assert embedding_std(torch.ones(64, 32)).item() == pytest.approx(0, abs=1e-6)


def test_scale_does_not_matter():
    torch.manual_seed(0)
    z = torch.randn(64, 16)
    assert torch.allclose(embedding_std(z), embedding_std(3 * z))
    assert torch.allclose(effective_rank(z), effective_rank(3 * z), rtol=1e-4)


@pytest.mark.parametrize("rank", [1, 2, 5])
def test_equal_singular_values_give_the_rank(rank):
    torch.manual_seed(0)
    rows = torch.randn(256, rank)
    basis = torch.linalg.qr(rows - rows.mean(dim=0)).Q
    directions = torch.linalg.qr(torch.randn(40, rank)).Q
    assert effective_rank(basis @ directions.T).item() == pytest.approx(rank, rel=1e-3)


def test_a_point_with_rounding_noise_has_rank_one():
    noise = 1e-8 * torch.randn(128, 256, generator=torch.Generator().manual_seed(0))
    assert effective_rank(0.3 + noise).item() == pytest.approx(1)
