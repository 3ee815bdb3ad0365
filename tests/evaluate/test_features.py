from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from sslcli.data.batch import Tokens
from sslcli.errors import CheckpointError, DataError
from sslcli.evaluate.features import cache_key, extract, weights_hash


def encoder() -> nn.Sequential:
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(*layers)


def batches(sizes: tuple[int, ...] = (4, 4, 2)) -> Iterator[tuple[Tensor, Tensor]]:
    generator, start = torch.Generator().manual_seed(1), 0
    for size in sizes:
        yield torch.randn(size, 3, 8, 8, generator=generator), torch.arange(start, start + size)
        start += size


def never() -> Iterator[tuple[Tensor, Tensor]]:
    pytest.fail("the encoder ran although its features were cached")
    yield


def test_features_equal_the_encoder_in_evaluation_mode():
    net = encoder()
    found = extract(net, batches(), device="cpu")
    expected = net.eval()(torch.cat([images for images, _ in batches()]))
    torch.testing.assert_close(found.features, expected.detach(), atol=1e-6, rtol=1e-5)
    assert found.rows.tolist() == list(range(10))
    assert not found.features.is_inference()


def test_tokens_and_vectors_are_embedded_as_they_are():
    ids = torch.tensor([[1, 2, 0], [3, 0, 0]])
    tokens = Tokens(ids, ids > 0)
    count = nn.Module()
    count.forward = lambda ids, mask: mask.sum(dim=1, keepdim=True)
    found = extract(count, [(tokens, torch.arange(2))], device="cpu")
    assert found.features.tolist() == [[2.0], [1.0]]
    found = extract(nn.Identity(), [(ids.float(), torch.arange(2))], device="cpu")
    assert torch.equal(found.features, ids.float())


def test_modes_layout_and_buffers_are_left_alone():
    net = encoder().train()
    net[1].eval()
    before = weights_hash(net)
    extract(net, batches(), device="cpu")
    assert [module.training for module in net] == [True, False, True, True]
    assert weights_hash(net) == before
    assert net[0].weight.is_contiguous()


def test_modes_are_restored_when_a_batch_fails():
    def broken() -> Iterator[tuple[Tensor, Tensor]]:
        yield from batches((2,))
        raise DataError("no more")

    net = encoder().train()
    with pytest.raises(DataError, match="no more"):
        extract(net, broken(), device="cpu")
    assert all(module.training for module in net.modules())


def test_bf16_is_close_and_returned_in_float32():
    exact = extract(encoder(), batches(), device="cpu").features
    rough = extract(encoder(), batches(), device="cpu", precision="bf16").features
    assert rough.dtype == torch.float32
    assert not torch.equal(rough, exact)
    torch.testing.assert_close(rough, exact, atol=0.03, rtol=0.03)


def test_cached_features_are_the_same_and_the_encoder_rests(tmp_path: Path):
    made = extract(encoder(), batches(), device="cpu", cache=tmp_path / "new", key="a")
    found = extract(encoder(), never(), device="cpu", cache=tmp_path / "new", key="a")
    assert (made.from_cache, made.note, found.from_cache) == (False, "", True)
    assert torch.equal(made.features, found.features)
    assert torch.equal(made.rows, found.rows)
    assert len(list((tmp_path / "new").iterdir())) == 1


def test_another_key_or_precision_is_not_found(tmp_path: Path):
    extract(encoder(), batches(), device="cpu", cache=tmp_path, key="a")
    assert not extract(encoder(), batches(), device="cpu", cache=tmp_path, key="b").from_cache
    again = extract(encoder(), batches(), device="cpu", cache=tmp_path, key="a", precision="bf16")
    assert not again.from_cache


@pytest.mark.parametrize("keep", [0, 7, 100])
def test_a_damaged_cache_is_replaced_and_reported(tmp_path: Path, keep: int):
    made = extract(encoder(), batches(), device="cpu", cache=tmp_path, key="a")
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:keep])
    repaired = extract(encoder(), batches(), device="cpu", cache=tmp_path, key="a")
    assert "unreadable" in repaired.note
    assert torch.equal(made.features, repaired.features)
    assert extract(encoder(), never(), device="cpu", cache=tmp_path, key="a").from_cache


def test_an_unwritable_cache_is_reported(tmp_path: Path):
    (tmp_path / "file").touch()
    made = extract(encoder(), batches(), device="cpu", cache=tmp_path / "file", key="a")
    assert "cannot be written" in made.note
    assert len(made.features) == 10


def test_hash_tells_weights_buffers_and_strides_apart():
    first, second, third = encoder(), encoder(), encoder()
    assert weights_hash(first) == weights_hash(
        second.train(False).to(memory_format=torch.channels_last)
    )
    second[1].running_mean += 1
    third[0].stride = (2, 2)
    assert len({weights_hash(net) for net in (first, second, third)}) == 3


def test_key_tells_views_apart():
    small, large = ({"image_size": size} for size in (32, 64))
    assert cache_key(encoder(), "digits", small) != cache_key(encoder(), "digits", large)
    assert cache_key(encoder(), "digits", small) != cache_key(encoder(), "mnist", small)


def test_non_finite_features_are_refused_and_not_cached(tmp_path: Path):
    net = encoder()
    nn.init.constant_(next(net.parameters()), torch.nan)
    with pytest.raises(CheckpointError, match="not finite for 10 of 10"):
        extract(net, batches(), device="cpu", cache=tmp_path, key="a")
    assert not list(tmp_path.iterdir())


def test_no_image_is_an_error():
    with pytest.raises(DataError):
        extract(encoder(), iter(()), device="cpu")


def test_progress_counts_images():
    seen: list[tuple[int, int]] = []
    extract(encoder(), batches(), device="cpu", total=10, progress=lambda *each: seen.append(each))
    assert seen == [(4, 10), (8, 10), (10, 10)]


def test_batches_are_made_outside_autocast_and_inference_mode():
    seen = []

    def batches():
        seen.append((torch.is_autocast_enabled("cpu"), torch.is_inference_mode_enabled()))
        yield torch.rand(2, 3, 4, 4), torch.arange(2)

    extract(torch.nn.Flatten(), batches(), device="cpu", precision="bf16")
    assert seen == [(False, False)]
