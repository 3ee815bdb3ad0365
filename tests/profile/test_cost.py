"""The estimate against published counts, hand-made sums and a real step."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import ResNet50_Weights

from sslcli import assemble
from sslcli.cli import show as showing
from sslcli.cli.reports.cost import show_estimate
from sslcli.cli.show import Show
from sslcli.config.presets import resolve
from sslcli.data.sources.open import ArraySource
from sslcli.engine.chunking import Chunked
from sslcli.engine.device import autocast
from sslcli.engine.loop import train_step
from sslcli.errors import ConfigError, UsageError
from sslcli.profile.cost import estimate
from sslcli.profile.simulation import Living, OneChunk, embedding, simulate
from sslcli.workflows.fit import Room, look


def training_of(preset, precision="fp32", **changes):
    config = resolve(preset, None, changes).config
    size = config.data.image_size
    pixels = np.random.default_rng(0).integers(
        0, 256, (2 * config.train.batch_size, 3, size, size), dtype=np.uint8
    )
    labels, names = np.arange(len(pixels)) % 10, tuple("0123456789")
    source = ArraySource("made up", pixels, labels, names)
    method = assemble.build_method(config, "cpu", assemble.facts_of(source))
    return assemble.build_training(config, method, source, torch.device("cpu"), precision)


def test_resnet50_flops_are_the_published_ones():
    """4.089 GMAC forward with its classifier; twice that again backward, but none to the image."""
    cost = estimate(training_of("simsiam/imagenet", **{"train.batch_size": 2}))
    encoder = ResNet50_Weights.IMAGENET1K_V2.meta["_ops"] * 1e9 - 2048 * 1000
    image_gradient = 7 * 7 * 3 * 64 * 112 * 112
    heads = 3 * 2048 * 2048 + 2 * 2048 * 512
    macs = 2 * (3 * encoder - image_gradient + 3 * heads)  # two views
    assert cost.flops_per_image == pytest.approx(2 * macs, rel=1e-3)
    assert cost.encoder_parameters == ResNet50_Weights.IMAGENET1K_V2.meta["num_params"] - 2_049_000


def test_attention_is_counted_on_the_cpu():
    """ViT-Tiny: 12 blocks of width 192 on 197 tokens; attention is 2 x 197^2 x 192 of each."""
    encoder = {"encoder.name": "timm:vit_tiny_patch16_224", "encoder.zero_init_residual": False}
    cost = estimate(training_of("simsiam/imagenet", **encoder, **{"train.batch_size": 2}))
    block = 12 * 197 * 192**2 + 2 * 197**2 * 192
    patches = 196 * 192 * 16 * 16 * 3
    heads = 192 * 2048 + 2 * 2048 * 2048 + 2 * 2048 * 512
    macs = 2 * (3 * 12 * block + 2 * patches + 3 * heads)  # nothing flows back to the image
    # The flash kernel computes its scores again in backward: 5 products instead of 4.
    again = 2 * 12 * 197**2 * 192
    assert cost.flops_per_image == pytest.approx(2 * (macs + again), rel=1e-3)


@pytest.mark.parametrize(
    ("preset", "size"),
    [
        ("simclr/digits", None),
        ("simclr/digits", 8),
        ("simclr/digits", 64),
        ("simclr-v2/digits", 4),
    ],
)
def test_flops_are_those_of_a_real_step_in_chunks_too(preset, size):
    fields = {"train.batch_size": 16, "train.chunk_size": size, "encoder.width": 8}
    training = training_of(preset, **fields)
    batch = next(iter(training.loader.epoch(0)))
    with FlopCounterMode(display=False) as counter:
        train_step(training, [batch])
    assert estimate(training).flops_per_image * 16 == counter.get_total_flops()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_activations_are_what_a_real_step_keeps(precision):
    training, kept = training_of("simsiam/digits", precision), {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    batch = next(iter(training.loader.epoch(0)))
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        train_step(training, [batch])
    known = (*training.method.parameters(), *training.method.buffers(), *batch.views)
    for tensor in known:
        kept.pop(tensor.untyped_storage().data_ptr(), None)
    measured = sum(storage.nbytes() for storage in kept.values())
    assert estimate(training).memory.activations == pytest.approx(measured, rel=0.01)


@pytest.mark.parametrize(
    ("optimizer", "moments"),
    [
        ({"name": "sgd", "momentum": 0.0}, 0),
        ({"name": "sgd", "momentum": 0.9}, 1),
        ({"name": "lars", "momentum": 0.9, "trust": 0.001}, 1),
        ({"name": "adamw"}, 2),
    ],
)
def test_moments_are_what_the_optimiser_keeps(optimizer, moments):
    shared = {"base_lr": 0.1, "lr_scaling": "none", "weight_decay": 0.0}
    training = training_of("simsiam/digits", optimizer={**optimizer, **shared})
    train_step(training, [next(iter(training.loader.epoch(0)))])
    state = training.optimizer.state.values()
    real = sum(v.nbytes for each in state for v in each.values() if torch.is_tensor(v) and v.ndim)
    memory = estimate(training).memory
    assert memory.moments == real == moments * memory.gradients


def test_processes_share_the_batch_and_nothing_else():
    training = training_of("simsiam/digits")
    one, four = estimate(training), estimate(training, processes=4)
    assert (one.micro_batch, four.micro_batch) == (128, 32)
    assert four.memory.activations == pytest.approx(one.memory.activations / 4, rel=0.01)
    assert four.memory.weights == one.memory.weights
    assert four.flops == pytest.approx(one.flops)
    with pytest.raises(ConfigError, match="cannot be divided"):
        estimate(training, processes=3)


def test_a_share_of_one_image_is_estimated():
    training = training_of("simsiam/digits")
    one, two = estimate(training, processes=128), estimate(training, processes=64)
    assert one.micro_batch == 1
    assert 2 * one.memory.activations == two.memory.activations


def test_memory_is_the_sum_of_its_parts_and_counts_the_data():
    training = training_of("simsiam/digits")
    memory = estimate(training).memory
    assert memory.data == 256 * 3 * 8 * 8
    parameters = sum(p.numel() for p in training.method.parameters())
    assert memory.weights == memory.gradients == 4 * parameters
    lasting = memory.weights + memory.moments + memory.buffers + memory.data
    assert memory.device == lasting + memory.views + memory.step + memory.heap
    assert memory.total == memory.device + memory.host


@pytest.mark.parametrize(
    ("preset", "precision", "changes"),
    [
        ("simsiam/digits", "fp32", {}),
        ("simsiam/digits", "bf16", {}),
        ("moco-v2/digits", "fp32", {}),
        ("jem/digits", "fp32", {"train.batch_size": 32}),
        ("simclr/digits", "fp32", {"train.chunk_size": 32}),
    ],
)
def test_the_peak_of_a_step_is_that_of_a_real_one(preset, precision, changes):
    training = training_of(preset, precision, **changes)
    batch = next(iter(training.loader.epoch(0)))
    known = (*training.method.parameters(), *training.method.buffers(), *batch.views, batch.rows)
    with Living(known) as living, autocast(training.device, precision):
        training.model(batch, training.progress).loss.backward()
    model, is_chunked = training.model, isinstance(training.model, Chunked)
    if is_chunked:
        model = OneChunk(model.method, model.size)
    found = simulate(training, model, len(batch), has_gradients=is_chunked)
    assert found.peak == pytest.approx(living.peak, rel=0.1 if is_chunked else 0.03)


def test_parts_and_processes_keep_gradients_between_passes():
    training = training_of("simsiam/digits")
    whole = simulate(training, training.method, 32)
    part = simulate(training, training.method, 32, has_gradients=True)
    gradients = estimate(training).memory.gradients
    assert 0 < part.peak - whole.peak <= 2 * gradients


def test_an_estimate_changes_neither_statistics_nor_random_numbers():
    training = training_of("moco-v2/digits")  # which shuffles by random numbers
    before = {name: value.clone() for name, value in training.method.state_dict().items()}
    state = torch.random.get_rng_state()
    estimate(training, embedded=64)
    assert torch.equal(torch.random.get_rng_state(), state)
    after = training.method.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert all(p.grad is None for p in training.method.parameters())


def test_a_plan_costs_what_the_training_does_and_draws_no_weights():
    training = training_of("swav/digits")
    state = torch.random.get_rng_state()
    plan = assemble.plan_training(
        training.config, training.loader.source, training.device, training.precision
    )
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(p.is_meta for p in plan.method.parameters())
    assert estimate(plan) == estimate(training)


def test_large_images_that_are_embedded_in_between_count():
    training = training_of("simsiam/digits", **{"train.batch_size": 4})
    none, many = estimate(training), estimate(training, embedded=4096)
    assert many.memory.step > max(4096 * 3 * 8 * 8 * 4, none.memory.step)


def test_a_cpu_embeds_so_few_large_images_that_training_decides_the_peak():
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert assemble.evaluation_batch(32, cpu) == assemble.evaluation_batch(32, cuda) == 512
    together = assemble.evaluation_batch(224, cpu)
    assert 8 < together < assemble.evaluation_batch(224, cuda)
    small = {"train.batch_size": 8, "encoder.name": "resnet10", "encoder.width": 16}
    training = training_of("byol/imagenet", "bf16", **small)
    assert 5 * embedding(training, together) < embedding(training, 94)


def test_data_on_the_disk_takes_no_memory(monkeypatch):
    training = training_of("simsiam/digits")
    feed = training.loader.feed
    monkeypatch.setattr(feed, "store", replace(feed.store, is_mapped=True))
    assert estimate(training).memory.data == 0


def test_device_hours_are_flops_over_what_the_device_does():
    cost = estimate(training_of("simsiam/digits"))
    assert cost.flops == cost.flops_per_image * 128 * 2 * 60  # 60 epochs of two batches
    assert cost.device_hours(2.0, 0.5) == pytest.approx(cost.flops / 1e12 / 3600)
    for peak, utilisation in ((0.0, 0.5), (1.0, 0.0), (1.0, 1.5)):
        with pytest.raises(ValueError, match="TFLOP/s"):
            cost.device_hours(peak, utilisation)


@pytest.fixture
def shown(monkeypatch, capsys):
    """Return a function that shows an estimate and returns what it printed."""

    def run(as_json, processes=1, **options):
        monkeypatch.setattr(showing, "_printed_json", False)
        training, room = training_of("simsiam/digits"), Room(None, None, 1, is_host=True)
        outlook = look(training.config, lambda config: (training, 0), room, (), processes)
        show_estimate(outlook, Show("pretrain", as_json=as_json), **options)
        return capsys.readouterr().out

    return run


def test_without_a_peak_no_hours_are_made_up(shown):
    assert "unknown: no device peak was given" in shown(False)
    found = json.loads(shown(True))["estimate"]
    assert found["device_hours"] is found["wall_hours"] is found["peak_tflops"] is None
    assert found["flops"] > 0


def test_hours_of_all_devices_and_by_the_clock(shown):
    given = {"processes": 4, "peak_tflops": 100.0, "utilisation": 0.4}
    found = json.loads(shown(True, **given))["estimate"]
    assert found["wall_hours"] == found["device_hours"] / 4
    assert found["memory"]["total"] > found["memory"]["step"]
    assert "100 TFLOP/s at 40%" in shown(False, **given)
    assert "at least" in shown(False, peak_tflops=100.0)


@pytest.mark.parametrize(
    "wrong",
    [{"utilisation": 0.4}, {"peak_tflops": 0.0}, {"peak_tflops": 1.0, "utilisation": 1.2}],
)
def test_a_peak_or_share_that_cannot_be_is_wrong_use(shown, wrong):
    with pytest.raises(UsageError):
        shown(False, **wrong)
