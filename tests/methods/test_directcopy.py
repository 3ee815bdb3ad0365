"""DirectCopy's predictor against its golden values; the rest is `test_directpred`'s."""

import pytest
import torch
from golden_input import golden
from torch import nn

from sslcli.config.methods.siamese import DirectCopyConfig
from sslcli.data.batch import Batch
from sslcli.methods.base import Progress
from sslcli.methods.directcopy import DirectCopy, predictor

NUMBERS = {"projector_hidden": 8, "dim": 6, "correlation_momentum": 0.5, "momentum": 0.9}


def golden_correlation():
    features = torch.cat([golden(0.7), golden(0.9)])
    return features.T @ features / 8


@pytest.mark.parametrize(("norm", "trace"), [("frobenius", 3.3268227), ("spectral", 3.6681416)])
def test_trace_has_its_golden_value(norm, trace):
    found = predictor(golden_correlation(), 0.3, norm)
    assert found.trace().item() == pytest.approx(trace, abs=1e-7)


@pytest.mark.parametrize("norm", ["frobenius", "spectral"])
def test_predictor_is_the_scaled_correlation_above_a_floor(norm):
    f = golden_correlation()
    found = predictor(f, 0.3, norm)
    assert (found @ f - f @ found).norm() < 1e-14
    assert torch.allclose(predictor(9 * f, 0.3, norm), found)
    assert torch.equal(predictor(torch.zeros(3, 3), 0.3, norm), 0.3 * torch.eye(3))


@pytest.mark.parametrize("norm", ["frobenius", "spectral"])
def test_after_a_step_the_predictor_is_that_of_the_batch(norm):
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(12, 5))
    encoder.feature_dim = 5
    method = DirectCopy(
        DirectCopyConfig(name="directcopy", epsilon=0.3, norm=norm, **NUMBERS), encoder
    )
    views = [torch.randn(8, 3, 2, 2) for _ in range(2)]
    carry = method(Batch(views, torch.arange(8)), Progress(0, 10, 5)).carry
    with torch.no_grad():
        method.after_step(Progress(1, 10, 5), carry)
    f = torch.cat([method.projector(method.encoder(view)) for view in views])
    expected = predictor(f.T @ f / 16, 0.3, norm)
    assert torch.allclose(method.predictors[0], expected, atol=1e-6)
