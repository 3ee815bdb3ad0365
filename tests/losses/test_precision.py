import torch

from sslcli.losses.contrastive import nt_xent
from sslcli.losses.precision import at_least_float32, inner_products


def test_half_precision_is_left_behind_and_float64_kept():
    assert at_least_float32(torch.zeros(1, dtype=torch.bfloat16)).dtype == torch.float32
    assert at_least_float32(torch.zeros(1, dtype=torch.float64)).dtype == torch.float64


def test_autocast_does_not_round_inner_products():
    a, b = torch.randn(4, 64), torch.randn(5, 64)
    with torch.autocast("cpu", torch.bfloat16):
        found = inner_products(a, b)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, a @ b.T)


def test_autocast_does_not_change_a_contrastive_loss():
    a, b = torch.randn(8, 64), torch.randn(8, 64)
    with torch.autocast("cpu", torch.bfloat16):
        found = nt_xent(a, b, 0.1)
    torch.testing.assert_close(found, nt_xent(a, b, 0.1))
