import pytest
import torch

from sslcli.data.staging import staged


def batches(count=5):
    return [[torch.full((3, 4), i), torch.arange(i + 1)] for i in range(count)]


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_every_batch_arrives_whole_and_in_order(device):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    found = [[t.cpu() for t in batch] for batch in staged(batches(), torch.device(device))]
    for batch, expected in zip(found, batches(), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(batch, expected, strict=True))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_copies_run_one_batch_ahead():
    fetched = []

    def source():
        for i, batch in enumerate(batches()):
            fetched.append(i)
            yield batch

    next(staged(source(), torch.device("cuda")))
    assert fetched == [0, 1]


def test_no_batches_are_no_error():
    assert list(staged([], torch.device("cpu"))) == []
