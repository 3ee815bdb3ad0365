import pytest
import torch

from sslcli.nn.positions import resample_positions, sin_cos_positions


def test_the_table_is_the_specs():
    table = sin_cos_positions(8, 2)
    second = [0, 0, 1, 1, 0.8414710, 0.0099998, 0.5403023, 0.9999500]
    assert table[1].tolist() == pytest.approx(second, abs=1e-6)
    assert table[2].tolist() == pytest.approx(second[4:] + second[:4], abs=1e-6)


def test_a_table_of_the_same_size_is_left_alone():
    positions = torch.randn(1, 1 + 9, 4)
    assert resample_positions(positions, 3, 3) is positions


def test_interpolation_is_bicubic_row_by_row_and_spares_cls():
    positions = torch.randn(1, 1 + 16, 4)
    found = resample_positions(positions, 2, 3)
    square = positions[0, 1:].view(4, 4, 4).permute(2, 0, 1)[None]  # [1, D, grid, grid]
    expected = torch.nn.functional.interpolate(square, (2, 3), mode="bicubic")
    assert torch.equal(found[:, 0], positions[:, 0])
    assert torch.equal(found[0, 1 + 4], expected[0, :, 1, 1])
    assert found.shape == (1, 1 + 6, 4)
