import pytest
import torch

from sslcli.data.images.threads import cut_evenly, share


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("samples", "values"), [(1, 10), (512, 3072), (700, 3072), (5, 150_528)])
def test_pieces_cover_every_sample_once(two_threads, samples, values):
    pieces = cut_evenly(samples, values)
    covered = [index for piece in pieces for index in range(samples)[piece]]
    assert covered == list(range(samples))
    assert max(piece.stop - piece.start for piece in pieces) * values <= max(1 << 21, values)


def test_pieces_keep_all_threads_busy(two_threads):
    assert [len(cut_evenly(count, 3072)) for count in (60, 512, 2000)] == [1, 2, 4]


def test_work_is_shared_by_threads_of_one_torch_thread_each(two_threads):
    seen = torch.zeros(8, dtype=torch.long)

    def work(piece):
        assert not torch.is_grad_enabled()
        seen[piece] = torch.get_num_threads()

    share(work, [slice(start, start + 2) for start in range(0, 8, 2)])
    assert seen.tolist() == [1] * 8
    assert torch.get_num_threads() == 2
    assert torch.is_grad_enabled()


def test_a_fault_in_a_thread_reaches_the_caller(two_threads):
    def work(piece):
        raise ValueError(f"piece {piece.start}")

    with pytest.raises(ValueError, match="piece 0"):
        share(work, [slice(0, 1), slice(1, 2)])
