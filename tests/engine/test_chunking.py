"""Chunks give what the whole batch gives, in the memory of one of them."""

import copy

import pytest
import torch
from torch import nn

from sslcli import assemble
from sslcli.config.methods.registry import METHODS, SECTIONS
from sslcli.config.presets import resolve
from sslcli.data.batch import Batch
from sslcli.data.sources.splits import open_splits
from sslcli.engine.chunking import Chunked
from sslcli.errors import ConfigError
from sslcli.losses.contrastive import nt_xent, sup_con
from sslcli.methods.base import BatchContrast, Output, Progress
from sslcli.methods.registry import method_class
from sslcli.nn.norm import AuxiliaryNorms
from sslcli.profile.cost import estimate

PROGRESS = Progress(0, 10, 5)


class Pairs(BatchContrast):
    """Two views through any network, contrasted by samples or by labels."""

    def __init__(self, *layers):
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(12, 16), *layers, nn.Linear(16, 6))

    def embed(self, batch):
        return tuple(self.encoder(view) for view in batch.views)

    def compare(self, embeddings, batch, progress):
        if batch.labels is None:
            return Output(nt_xent(*embeddings, temperature=0.2))
        return Output(sup_con(torch.cat(embeddings), batch.labels.repeat(2), temperature=0.2))


def pairs(*layers):
    torch.manual_seed(0)
    return Pairs(*layers).double()


def batch(*, size=10, labelled=False):
    views = [torch.randn(size, 3, 2, 2, dtype=torch.float64) for _ in range(2)]
    rows = torch.arange(size)
    return Batch(views, rows, rows % 3 if labelled else None)


def gradient(model, one):
    """Return the loss and all gradients in one vector."""
    loss = model(one, PROGRESS).loss
    return loss.detach(), torch.cat(
        [x.flatten() for x in torch.autograd.grad(loss, list(model.parameters()))]
    )


@pytest.mark.parametrize("labelled", [False, True])
@pytest.mark.parametrize("size", [2, 3, 4, 10])
def test_the_gradient_is_that_of_the_whole_batch(labelled, size):
    method, one = pairs(nn.Tanh()), batch(labelled=labelled)
    (loss, whole), (chunked_loss, chunked) = (
        gradient(method, one),
        gradient(Chunked(method, size), one),
    )
    assert chunked_loss.item() == pytest.approx(loss.item(), abs=1e-12)
    torch.testing.assert_close(chunked, whole, rtol=0, atol=1e-9)


def test_the_second_pass_repeats_the_noise_of_the_first():
    method, one = pairs(nn.Dropout(0.5)), batch()
    torch.manual_seed(1)
    parts = [method.embed(chunk) for chunk in one.chunks(2)]  # with their graphs
    joined = tuple(torch.cat(part) for part in zip(*parts, strict=True))
    loss = method.compare(joined, one, PROGRESS).loss
    expected = torch.autograd.grad(loss, list(method.parameters()))
    torch.manual_seed(1)
    _, found = gradient(Chunked(method, 5), one)
    torch.testing.assert_close(
        found, torch.cat([x.flatten() for x in expected]), rtol=0, atol=1e-12
    )


def test_running_statistics_count_each_chunk_once():
    method, one = pairs(nn.BatchNorm1d(16)), batch()
    gradient(Chunked(method, 5), one)
    norm, expected = method.encoder[2], pairs(nn.BatchNorm1d(16))
    for chunk in one.chunks(2):
        expected.embed(chunk)
    assert norm.num_batches_tracked == 4  # two views of two chunks
    torch.testing.assert_close(norm.running_mean, expected.encoder[2].running_mean)
    torch.testing.assert_close(norm.running_var, expected.encoder[2].running_var)


class OnABranch(Pairs):
    """Embeds the second view through an auxiliary branch of BatchNorm."""

    def __init__(self, *layers):
        super().__init__(*layers)
        self.auxiliary = AuxiliaryNorms(self.encoder)

    def embed(self, batch):
        with self.auxiliary.on(self.encoder):
            second = self.encoder(batch.views[1])
        return self.encoder(batch.views[0]), second


def test_an_auxiliary_branch_counts_each_chunk_once():
    torch.manual_seed(0)
    method, one = OnABranch(nn.BatchNorm1d(16)).double(), batch()
    expected = copy.deepcopy(method)
    loss, found = gradient(Chunked(method, 5), one)
    parts = [expected.embed(chunk) for chunk in one.chunks(2)]
    joined = tuple(torch.cat(part) for part in zip(*parts, strict=True))
    reference = expected.compare(joined, one, PROGRESS).loss
    grads = torch.autograd.grad(reference, list(expected.parameters()))
    assert loss.item() == pytest.approx(reference.item(), abs=1e-12)
    torch.testing.assert_close(found, torch.cat([x.flatten() for x in grads]))
    for name, value in expected.state_dict().items():
        assert torch.equal(method.state_dict()[name], value), name


def test_the_second_pass_rounds_as_the_first():
    method, one = pairs(nn.Tanh()).float(), batch()
    one.views[:] = [view.float() for view in one.views]
    with torch.autocast("cpu", torch.bfloat16):
        (_, whole), (_, chunked) = gradient(method, one), gradient(Chunked(method, 5), one)
    torch.testing.assert_close(chunked, whole, rtol=0, atol=0.02 * whole.abs().max().item())


def test_only_embeddings_are_kept_between_the_passes():
    kept = {}
    for name, model in (("whole", pairs(nn.Tanh())), ("chunks", Chunked(pairs(nn.Tanh()), 16))):
        saved = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda x, saved=saved: saved.append(x.numel()) or x, lambda x: x
        ):
            model(batch(size=64), PROGRESS)
        kept[name] = sum(saved)
    assert kept["whole"] - kept["chunks"] > 2 * 64 * 16  # the hidden layer of both views


@pytest.mark.parametrize(
    ("preset", "fields", "told"),
    [
        ("simsiam/digits", {"train.chunk_size": 8}, "compare the samples of a batch"),
        ("simclr/digits", {"train.chunk_size": 8, "train.compile": True}, "exclude each other"),
        ("simclr/digits", {"train.chunk_size": 1}, "at least 2"),
    ],
)
def test_what_cannot_be_chunked_is_refused(preset, fields, told):
    with pytest.raises(ConfigError, match=told):
        resolve(preset, None, fields)


@pytest.mark.parametrize("name", METHODS)
def test_a_section_says_whether_its_method_can_be_chunked(name):
    says = SECTIONS[name].contrasts_batch  # a property where the settings decide
    assert (says is not False) == issubclass(method_class(name), BatchContrast)


def test_the_plan_counts_a_chunks_activations_and_its_second_pass():
    costs = []
    for size in (None, 8):
        config = resolve("simclr/digits", None, {"train.chunk_size": size}).config
        source = open_splits(config.data).train
        method, cpu = assemble.build_method(config), torch.device("cpu")
        costs.append(estimate(assemble.build_training(config, method, source, cpu, "fp32")))
    whole, chunked = costs
    share = whole.memory.activations / 16  # with the loss's own, which no chunk holds
    assert 0.99 * share < chunked.memory.activations < share
    assert whole.flops < chunked.flops < whole.flops * 4 / 3 * 1.01
