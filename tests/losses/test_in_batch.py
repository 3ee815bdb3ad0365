"""MoCo v3's contrast against the spec's golden values and its properties."""

import math

import pytest
import torch
from golden_input import golden

from sslcli.losses.contrastive import batch_info_nce, own_key_top1


@pytest.mark.parametrize(("temperature", "value"), [(0.2, 0.0945944044), (1.0, 1.6039133359)])
def test_golden_value_of_one_direction_with_moco_v3s_factor(temperature, value):
    loss = 2 * temperature * batch_info_nce(golden(0.7), golden(0.9), temperature)
    assert loss.item() == pytest.approx(value, abs=1e-9)


def test_the_own_keys_begin_where_first_says():
    query, keys = golden(0.7), golden(0.9)
    whole = batch_info_nce(query, keys, 0.2)
    halves = [batch_info_nce(query[i : i + 2], keys, 0.2, first=i) for i in (0, 2)]
    torch.testing.assert_close(sum(halves) / 2, whole)
    assert own_key_top1(query[2:], keys, first=2) == 1
    assert own_key_top1(query[2:], keys) == 0


def test_equal_similarities_are_a_guess():
    ones = torch.ones(6, 3)
    assert batch_info_nce(ones, ones, 0.2).item() == pytest.approx(math.log(6), abs=1e-6)


def test_length_and_a_common_rotation_do_not_matter():
    query, keys = golden(0.7), golden(0.9)
    rotation = torch.linalg.qr(golden(0.31).T @ golden(0.31) + torch.eye(6).double()).Q
    expected = batch_info_nce(query, keys, 0.2)
    torch.testing.assert_close(batch_info_nce(3 * query, keys, 0.2), expected)
    torch.testing.assert_close(batch_info_nce(query @ rotation, keys @ rotation, 0.2), expected)


def test_the_temperature_must_be_positive():
    with pytest.raises(ValueError, match="positive"):
        batch_info_nce(golden(0.7), golden(0.9), 0.0)
