"""What every method must do, shown on each preset that is shipped.

A new method is covered as soon as it has a preset.
"""

import copy
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call

from sslcli import assemble
from sslcli.config.presets import list_presets, resolve
from sslcli.data.batch import Batch
from sslcli.data.splits import Subset, open_splits
from sslcli.data.views import Views
from sslcli.engine.log import Log
from sslcli.engine.loop import train_step
from sslcli.engine.stop import Stop
from sslcli.engine.trainer import resume, train
from sslcli.errors import StoppedError
from sslcli.methods.base import Progress

CPU = torch.device("cpu")
TINY = [name for name in list_presets() if name.endswith("/digits")]


class Silent:
    """A watcher that says nothing."""

    def step(self, step):
        pass

    def metrics(self, row):
        pass

    def note(self, text):
        pass


def tiny_training(preset, **train):
    """Return a training on 48 digits in steps of 8."""
    fields = {"train.batch_size": 8, "train.duration": "2 epochs", "train.precision": "fp32"}
    config = resolve(preset, None, fields | train).config
    digits = open_splits(config.data).train
    source = Subset(digits, np.arange(0, 480, 10), "48 digits")
    method = assemble.build_method(config)
    return assemble.build_training(config, method, source, CPU, "fp32")


@pytest.mark.parametrize("preset", list_presets())
def test_every_preset_builds(preset):
    config = resolve(preset).config
    with torch.device("meta"):
        method = assemble.build_method(config, "meta")
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
    assert not output.embeddings.requires_grad
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


@pytest.mark.parametrize("preset", TINY)
@pytest.mark.parametrize("workers", [0, 2])
def test_resuming_in_mid_epoch_equals_never_stopping(preset, workers, tmp_path):
    def run(training, name, stop):
        (tmp_path / name).mkdir(exist_ok=True)
        log = Log(tmp_path / name / "metrics.jsonl", Silent())
        train(training, tmp_path / name, {}, log, stop)

    options = {"data.workers": workers}
    whole = tiny_training(preset, **options)
    run(whole, "whole", Stop())
    stopped = tiny_training(preset, **options)
    with pytest.raises(StoppedError):
        run(stopped, "cut", StopAfter(stopped, 8))
    resumed = tiny_training(preset, **options)
    resume(resumed, tmp_path / "cut")
    run(resumed, "cut", Stop())
    expected = whole.method.state_dict()
    for name, value in resumed.method.state_dict().items():
        assert torch.equal(value, expected[name]), name


@pytest.mark.parametrize("preset", TINY)
def test_same_seed_same_curve(preset):
    losses = []
    for _ in range(2):
        training = tiny_training(preset)
        batches = training.loader.epoch(0)
        losses.append([train_step(training, [next(batches)]).loss.item() for _ in range(3)])
    assert losses[0] == losses[1]


@contextmanager
def cuda_autocast():
    """Switch on what torch.autocast refuses to where there is no CUDA."""
    torch.set_autocast_dtype("cuda", torch.bfloat16)
    torch.set_autocast_enabled("cuda", True)
    try:
        yield
    finally:
        torch.set_autocast_enabled("cuda", False)
        torch.clear_autocast_cache()


@pytest.mark.parametrize("preset", TINY)
def test_views_and_forward_on_cuda_mix_no_devices_and_read_nothing_back(preset):
    """FakeTensorMode refuses .item(), boolean indexing and tensors of two devices."""
    training = tiny_training(preset)
    config = training.config
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        images = torch.empty(8, 3, 8, 8, dtype=torch.uint8, device="cuda")
        rows = torch.arange(8, device="cuda")
        views = Views(config.views, config.data.mean, config.data.std, 0)(images, rows, 0)
        named = (*training.method.named_parameters(), *training.method.named_buffers())
        state = {n: mode.from_tensor(t.detach()).to("cuda") for n, t in named}
        with cuda_autocast():
            batch = Batch(views, rows, torch.zeros_like(rows))
            output = functional_call(training.method, state, (batch, Progress(0, 10, 5)))
        assert output.loss.device.type == "cuda"
        assert output.loss.dtype == torch.float32
