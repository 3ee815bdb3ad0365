import pytest
import torch

from sslcli.memory.bank import Bank


def bank(size=50, dim=128):
    torch.manual_seed(0)
    return Bank(size, dim)


def test_rows_start_at_about_unit_length_within_their_bounds():
    rows = bank(2_000).rows
    assert rows.abs().max() <= (3 / 128) ** 0.5
    assert rows.square().sum(dim=1).mean().item() == pytest.approx(1, abs=0.01)
    assert rows.norm(dim=1).std() > 0.01


def test_an_update_moves_named_rows_and_no_other():
    memory = bank()
    before, vectors = memory.rows.clone(), torch.eye(128)[:2]
    memory.update(torch.tensor([7, 3]), vectors, momentum=0.5)
    moved = 0.5 * before[[7, 3]] + 0.5 * vectors
    torch.testing.assert_close(memory.rows[[7, 3]], moved / moved.norm(dim=1, keepdim=True))
    rest = [row for row in range(50) if row not in (3, 7)]
    assert torch.equal(memory.rows[rest], before[rest])


def test_no_momentum_is_a_copy_and_nothing_of_the_graph_is_kept():
    memory = bank()
    vectors = torch.eye(128)[:2].requires_grad_()
    memory.update(torch.tensor([0, 1]), vectors, momentum=0.0)
    assert torch.equal(memory.rows[:2], vectors)
    assert not memory.rows.requires_grad


def test_a_row_named_twice_takes_one_of_its_vectors():
    memory = bank()
    memory.update(torch.tensor([4, 4]), torch.eye(128)[:2], momentum=0.0)
    assert any(torch.equal(memory.rows[4], one) for one in torch.eye(128)[:2])
