"""Classifiers out of prompts: each prompt counts alike, and weights are unit vectors."""

import pytest
import torch

from sslcli.evaluate.zero_shot import class_weights


def test_it_equals_a_slow_reference():
    prompts = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0))
    rows = []
    for one in prompts:
        mean = sum(vector / vector.norm() for vector in one) / len(one)
        rows.append(mean / mean.norm())
    torch.testing.assert_close(class_weights(prompts), torch.stack(rows))


def test_a_long_embedding_weighs_no_more_than_a_short_one():
    prompts = torch.tensor([[[100.0, 0.0], [0.0, 1.0]]])
    expected = torch.full((1, 2), 0.5**0.5)
    torch.testing.assert_close(class_weights(prompts), expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_weights_have_length_one_in_float32_at_least(dtype):
    weights = class_weights(torch.randn(2, 3, 6).to(dtype))
    assert weights.dtype == torch.promote_types(dtype, torch.float32)
    torch.testing.assert_close(weights.norm(dim=1), torch.ones(2).to(weights.dtype))
