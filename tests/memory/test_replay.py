import pytest
import torch

from sslcli.memory.replay import ReplayBuffer


def filled(size=40, blocks=1):
    torch.manual_seed(0)
    buffer = ReplayBuffer(size, (3, 2, 2), blocks)
    buffer.push(torch.rand(size, 3, 2, 2), torch.arange(size) % 10)
    return buffer


def test_rows_are_different():
    buffer, labels = filled(), torch.zeros(30, dtype=torch.int64)
    for _ in range(20):
        assert len(buffer.distinct_rows(labels).unique()) == 30


@pytest.mark.parametrize("blocks", [1, 2])
def test_parts_of_a_step_draw_different_rows_and_together_any(blocks):
    buffer, labels, drawn = filled(blocks=blocks), torch.arange(6) % blocks, set()
    for _ in range(60):
        parts = [buffer.distinct_rows(labels, part, 3) for part in range(3)]
        assert len(torch.cat(parts).unique()) == 18
        drawn |= set(torch.cat(parts).tolist())
    assert drawn == set(range(40))


def test_drawing_with_replacement_would_often_repeat():
    repeats = 1 - torch.tensor([1 - i / 10_000 for i in range(64)], dtype=torch.float64).prod()
    assert repeats.item() == pytest.approx(0.183, abs=5e-4)


def test_each_class_has_its_block():
    buffer = ReplayBuffer(10_000, (1, 1, 1), 10)
    rows = buffer.distinct_rows(torch.full((64,), 3))
    assert rows.min() >= 3000
    assert rows.max() <= 3999
    assert len(rows.unique()) == 64


def test_blocks_must_be_equal_and_large_enough():
    with pytest.raises(ValueError, match="divided"):
        ReplayBuffer(101, (1, 1, 1), 10)
    with pytest.raises(ValueError, match="rows"):
        ReplayBuffer(100, (1, 1, 1), 10).distinct_rows(torch.zeros(11, dtype=torch.int64))


def test_writing_touches_nothing_but_its_rows():
    buffer = filled()
    before, rows = buffer.images.clone(), torch.tensor([5, 1, 39])
    new = torch.rand(3, 3, 2, 2)
    buffer.write(rows, new, torch.tensor([7, 7, 7]), torch.tensor([True, False, False]))
    others = torch.ones(40, dtype=torch.bool)
    others[rows] = False
    assert torch.equal(buffer.images[rows], new)  # the fresh one too
    assert torch.equal(buffer.images[others], before[others])
    assert buffer.images.shape == before.shape
    assert buffer.images.dtype == torch.float32
    assert buffer.age[rows].tolist() == [1, 2, 2]
    assert buffer.labels[rows].tolist() == [7, 7, 7]


def test_rows_never_written_are_empty():
    buffer, rows = ReplayBuffer(8, (1, 1, 1)), torch.arange(3)
    assert buffer.is_empty(rows).all()
    buffer.write(rows[:2], torch.zeros(2, 1, 1, 1), rows[:2], torch.ones(2, dtype=torch.bool))
    assert buffer.is_empty(rows).tolist() == [False, False, True]


def test_a_chain_that_is_not_finite_leaves_its_row_empty():
    buffer, rows = filled(), torch.tensor([2, 3])
    ends = torch.ones(2, 3, 2, 2)
    ends[0, 1, 0, 0] = torch.nan
    buffer.write(rows, ends, rows, torch.zeros(2, dtype=torch.bool))
    assert buffer.is_empty(rows).tolist() == [True, False]
    assert buffer.images.isfinite().all()


def test_pushes_go_round_and_keep_labels_with_images():
    buffer = ReplayBuffer(5, (1, 1, 1))
    for start in (0, 3):
        values = torch.arange(start, start + 3)
        buffer.push(values.float().view(3, 1, 1, 1), values)
    assert buffer.images.flatten().tolist() == [5, 1, 2, 3, 4]
    assert buffer.labels.tolist() == [5, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="fit"):
        buffer.push(torch.zeros(6, 1, 1, 1), torch.zeros(6, dtype=torch.int64))


def test_past_rows_are_rows_that_were_written():
    torch.manual_seed(0)
    buffer = ReplayBuffer(100, (1, 1, 1))
    assert buffer.past_rows(4).tolist() == [0] * 4
    buffer.push(torch.zeros(7, 1, 1, 1), torch.zeros(7, dtype=torch.int64))
    assert sorted(buffer.past_rows(200).unique().tolist()) == list(range(7))


def test_a_saved_buffer_goes_on_as_the_original():
    first, second = filled(), ReplayBuffer(40, (3, 2, 2))
    second.load_state_dict(first.state_dict())
    for buffer in (first, second):
        torch.manual_seed(1)
        rows = buffer.distinct_rows(torch.zeros(4, dtype=torch.int64))
        buffer.write(rows, torch.rand(4, 3, 2, 2), rows, torch.rand(4) < 0.5)
    for name, value in first.state_dict().items():
        assert torch.equal(second.state_dict()[name], value), name
