import pytest
import torch

from sslcli.memory.queue import Queue


def test_pushes_wrap_and_drop_the_oldest():
    queue = Queue(5, 1)
    for start in (0, 3):
        queue.push(torch.arange(start, start + 3.0)[:, None])
    assert queue.rows.flatten().tolist() == [5, 1, 2, 3, 4]
    assert queue.pointer == 1
    assert queue.held == 5


def test_held_counts_vectors_until_it_is_full():
    queue = Queue(4, 2)
    queue.push(torch.ones(3, 2))
    assert queue.held == 3


def test_nothing_of_the_graph_is_kept():
    queue, vectors = Queue(4, 2), torch.ones(2, 2, requires_grad=True)
    queue.push(vectors)
    assert not queue.rows.requires_grad


def test_more_than_it_holds_is_refused():
    with pytest.raises(ValueError, match="fit"):
        Queue(2, 1).push(torch.zeros(3, 1))
