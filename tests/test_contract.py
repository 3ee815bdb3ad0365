"""What every method must do, shown on each preset that is shipped.

A new method is covered as soon as it has a preset.
"""

import copy
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
)

from sslcli import assemble
from sslcli.config.presets import list_presets, resolve
from sslcli.config.section import DataFacts
from sslcli.data import loader
from sslcli.data.batch import Batch, Tokens
from sslcli.data.images.store import NotPacked
from sslcli.data.images.views import Views
from sslcli.data.sources.splits import Subset, open_splits
from sslcli.engine.log import Log
from sslcli.engine.loop import train_step
from sslcli.engine.optim import build_optimizer
from sslcli.engine.stop import Stop
from sslcli.engine.trainer import resume, train
from sslcli.errors import StoppedError
from sslcli.listener import SilentWatcher

CPU = torch.device("cpu")
CAPTIONED = ["clip/scenes-colour", "siglip/scenes-colour"]
OF_IMAGES = [name for name in list_presets() if name.endswith("/digits")] + CAPTIONED
# A worker knows the views alone: of one crop, of two sizes, of patches, and with texts beside them.
STREAMED = ["simsiam/digits", "dino/digits", "cpc-v2/digits", "clip/scenes-colour"]
TINY = OF_IMAGES + [name for name in list_presets() if name.endswith("/phrases")]


def tiny_training(preset, count=48, **train):
    """Return a training on 48 images of digits, or sentences, in steps of 8."""
    fields = {"train.batch_size": 8, "train.duration": "2 epochs", "train.precision": "fp32"}
    config = resolve(preset, None, fields | train).config
    whole = open_splits(config.data).train
    source = Subset(whole, np.arange(0, 10 * count, 10), f"{count} rows")
    config = assemble.settled(config, source)
    method = assemble.build_method(config, facts=assemble.facts_of(source))
    return assemble.build_training(config, method, source, CPU, "fp32")


@pytest.mark.parametrize("preset", list_presets())
def test_every_preset_builds(preset):
    config = resolve(preset).config
    with torch.device("meta"):
        method = assemble.build_method(config, "meta", DataFacts(rows=1_000))
    assert sum(p.numel() for p in method.encoder.parameters()) > 0
    assert config.about.summary
    assert config.about.paper


@pytest.mark.parametrize("preset", TINY)
def test_a_step_is_finite_and_reaches_every_trainable_parameter(preset):
    training = tiny_training(preset)
    batch = next(training.loader.epoch(0))
    output = training.model(batch, training.progress)
    output.loss.backward()
    assert output.loss.isfinite()
    assert output.loss.dtype == torch.float32
    assert output.embeddings is None or not output.embeddings.requires_grad
    for name, parameter in training.method.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("preset", TINY)
def test_every_trainable_parameter_is_in_one_group(preset):
    method = tiny_training(preset).method
    named = [name for group in method.param_groups() for name, _ in group.named]
    assert sorted(named) == sorted(n for n, p in method.named_parameters() if p.requires_grad)


@pytest.mark.parametrize("preset", TINY)
def test_forward_writes_no_memory(preset):
    training = tiny_training(preset)
    norms = ("running_mean", "running_var", "num_batches_tracked")
    before = copy.deepcopy(training.method.state_dict())
    training.model(next(training.loader.epoch(0)), training.progress)
    for name, value in training.method.state_dict().items():
        assert name.endswith(norms) or torch.equal(value, before[name]), name


class StopAfter(Stop):
    """Ask to stop once a step is done."""

    def __init__(self, training, step):
        super().__init__()
        self.training, self.step = training, step

    def reason(self):
        return "SIGTERM" if self.training.step >= self.step else ""


def resume_in_mid_epoch(preset, folder, **options):
    """Compare a training that was stopped after 4 of 6 steps with one that was not; return it."""

    def run(training, name, stop):
        (folder / name).mkdir(exist_ok=True)
        log = Log(folder / name / "metrics.jsonl", SilentWatcher())
        train(training, folder / name, {}, log, stop)

    whole = tiny_training(preset, 24, **options)  # which sets the seed
    run(whole, "whole", Stop())
    stopped = tiny_training(preset, 24, **options)
    with pytest.raises(StoppedError):
        run(stopped, "cut", StopAfter(stopped, 4))
    resumed = tiny_training(preset, 24, **options)
    resume(resumed, folder / "cut")
    run(resumed, "cut", Stop())
    expected = whole.method.state_dict()
    for name, value in resumed.method.state_dict().items():
        assert torch.equal(value, expected[name]), name
    return resumed


@pytest.mark.parametrize("preset", TINY)
def test_resuming_in_mid_epoch_equals_never_stopping(preset, tmp_path):
    resume_in_mid_epoch(preset, tmp_path)


@pytest.mark.parametrize("preset", STREAMED)
def test_resuming_with_a_worker_equals_never_stopping(preset, tmp_path, monkeypatch):
    monkeypatch.setattr(loader, "pack", lambda *_: NotPacked("a test wants a worker", "wait"))
    resumed = resume_in_mid_epoch(preset, tmp_path, **{"data.workers": 1})
    assert resumed.loader.feed.workers == 1


@pytest.mark.parametrize("preset", TINY)
def test_same_seed_same_curve(preset):
    losses = []
    for _ in range(2):
        training = tiny_training(preset)
        batches = training.loader.epoch(0)
        losses.append([train_step(training, [next(batches)]).loss.item() for _ in range(3)])
    assert losses[0] == losses[1]


@contextmanager
def cuda_autocast(*_):
    """Switch on what torch.autocast refuses to where there is no CUDA."""
    torch.set_autocast_dtype("cuda", torch.bfloat16)
    torch.set_autocast_enabled("cuda", True)
    try:
        yield
    finally:
        torch.set_autocast_enabled("cuda", False)
        torch.clear_autocast_cache()


def step_on_cuda(preset, monkeypatch, change=lambda method: method):
    """Make views and a whole training step on CUDA tensors without content, and a log's row.

    FakeTensorMode refuses whatever reads back to the host (.item(), boolean indexing, a branch on a
    tensor) and tensors of two devices in one operation. Only autograd's own backward is left out,
    which asks for a real CUDA device: gradients are made up.
    """

    def backward(loss):
        for parameter in method.parameters():
            parameter.grad = torch.empty_like(parameter) if parameter.requires_grad else None

    def grad(outputs, inputs, **_):
        several = [inputs] if isinstance(inputs, torch.Tensor) else inputs
        return tuple(torch.empty_like(each) for each in several)

    monkeypatch.setattr(torch.Tensor, "backward", backward)
    monkeypatch.setattr(torch.autograd, "grad", grad)
    monkeypatch.setattr("sslcli.engine.loop.autocast", cuda_autocast)
    real = tiny_training(preset)
    config, cuda = real.config, torch.device("cuda")
    method = change(copy.deepcopy(real.method))
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        for module in method.modules():
            for store in (module._parameters, module._buffers):
                for name, tensor in store.items():
                    if tensor is not None:
                        fake = mode.from_tensor(tensor.detach()).to(cuda)
                        is_parameter = isinstance(tensor, torch.nn.Parameter)
                        store[name] = (
                            torch.nn.Parameter(fake, tensor.requires_grad) if is_parameter else fake
                        )
        optimizer = build_optimizer(method.param_groups(), config.optimizer, 8)
        for group in optimizer.param_groups:
            group |= {"capturable": True} if "capturable" in group else {}
        training = replace(
            real, method=method, model=method, optimizer=optimizer, device=cuda, precision="bf16"
        )
        ids = torch.ones(8, 5, dtype=torch.int64, device=cuda)
        texts = [Tokens(ids, ids.bool()) for view in config.texts for _ in range(view.count)]
        rows, views = torch.arange(8, device=cuda), []
        if config.views:
            side = len(real.loader.source.load(0))
            images = torch.empty(8, 3, side, side, dtype=torch.uint8, device=cuda)
            views = Views(config.views, config.data.pixels, 0)(images, rows, 0)
        result = train_step(training, [Batch(views, rows, torch.zeros_like(rows), texts=texts)])
        monitors = [*result.output.metrics.values(), *result.output.spread().values()]
        assert {tensor.device.type for tensor in (result.loss, *monitors)} == {"cuda"}
        assert result.loss.dtype == torch.float32


@pytest.mark.parametrize("preset", TINY)
def test_a_step_on_cuda_mixes_no_devices_and_reads_nothing_back(preset, monkeypatch):
    step_on_cuda(preset, monkeypatch)


def reads_back(method):
    method.after_step = lambda progress, carry: method.projector[0].weight.sum().item()
    return method


def branches(method):
    def before_step(progress):
        if method.projector[0].weight.grad.isfinite().all():
            return

    method.before_step = before_step
    return method


def picks_by_mask(method):
    forward = method.forward

    def picking(batch, progress):
        return forward(replace(batch, rows=batch.rows[batch.rows > 3]), progress)

    method.forward = picking
    return method


def mixes_devices(method):
    forward = method.forward

    def mixing(batch, progress):
        output = forward(batch, progress)
        return replace(output, loss=output.loss + torch.ones(1))

    method.forward = mixing
    return method


@pytest.mark.parametrize(
    ("fault", "found", "told"),
    [
        (reads_back, DataDependentOutputException, "_local_scalar_dense"),
        (branches, DataDependentOutputException, "_local_scalar_dense"),
        (picks_by_mask, DynamicOutputShapeException, "nonzero"),
        (mixes_devices, RuntimeError, "at least two devices"),
    ],
)
def test_the_check_on_cuda_finds(fault, found, told, monkeypatch):
    with pytest.raises(found, match=told):
        step_on_cuda("simsiam/digits", monkeypatch, fault)
