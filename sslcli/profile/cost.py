"""Estimate the cost of a training from shapes, before anything is trained."""

from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from sslcli.config.optimizers import AdamConfig, OptimizerConfig, RMSPropConfig, SGDConfig
from sslcli.data.batch import Batch
from sslcli.engine.chunking import Chunked
from sslcli.engine.device import autocast
from sslcli.engine.loop import Training
from sslcli.errors import ConfigError
from sslcli.methods.base import BatchContrast
from sslcli.profile.preparing import own_loader


@dataclass(frozen=True)
class Memory:
    """Bytes that one process keeps on its device.

    Temporary buffers, the workspaces of convolutions and torch itself come on top; gradients and
    activations peak at different times, so the sum of these alone is rather too high.

    Attributes:
        weights: Parameters of the method, target networks included.
        gradients: One for each trainable parameter. DistributedDataParallel's buckets are the
            gradients themselves (`gradient_as_bucket_view`), so they add nothing.
        moments: State of the optimiser: two numbers a trainable parameter with Adam, one with
            momentum, none with plain SGD.
        buffers: Running statistics, queues, banks, centres.
        views: The float32 images and the tokens of one micro-batch.
        activations: Tensors of one micro-batch that autograd keeps between forward and backward,
            without those gathered from other processes.
        data: The data set, when it lies decoded in the device's memory.
    """

    weights: int
    gradients: int
    moments: int
    buffers: int
    views: int
    activations: int
    data: int

    @property
    def total(self) -> int:
        """Sum of all parts."""
        return sum(astuple(self))


@dataclass(frozen=True)
class Cost:
    """The price of a run.

    Attributes:
        steps: Optimiser steps.
        images: Images seen, counting each one every time.
        processes: Processes that share each batch.
        micro_batch: Images that a process takes through the network at a time.
        parameters: Trainable numbers of the method.
        encoder_parameters: Numbers of the encoder.
        flops_per_image: Forward and backward through all views of an image; a multiplication and
            an addition count as two. Views, optimiser and EMA are not counted.
        memory: Of one process.
    """

    steps: int
    images: int
    processes: int
    micro_batch: int
    parameters: int
    encoder_parameters: int
    flops_per_image: float
    memory: Memory

    @property
    def flops(self) -> float:
        """Floating-point operations of the whole run, all processes together."""
        return self.flops_per_image * self.images

    def device_hours(self, peak_tflops: float, utilisation: float) -> float:
        """Return the hours that all devices together are busy.

        Args:
            peak_tflops: Peak of one device, in 1e12 operations a second.
            utilisation: Share of the peak that is reached, above 0 and up to 1.

        Raises:
            ValueError: If a number is out of its range.
        """
        if peak_tflops <= 0 or not 0 < utilisation <= 1:
            raise ValueError(f"no device reaches {utilisation} of {peak_tflops} TFLOP/s")
        return self.flops / (peak_tflops * 1e12 * utilisation) / 3600


def estimate(training: Training, processes: int = 1) -> Cost:
    """Count the operations and the memory of a step on tensors without content, in about a second.

    Args:
        training: The training, built for one process.
        processes: Processes that would share each batch.

    Raises:
        ConfigError: If the batch cannot be divided among the processes.
    """
    method, train = training.method, training.config.train
    images = _micro_batch(train.batch_size, train.accumulate, processes)
    counted = max(2, images)  # BatchNorm's statistics need two images; SyncBN has them elsewhere
    flops, activations, views = _pass(training, training.method, counted)
    parameters = [p for p in method.parameters() if p.requires_grad]
    count = sum(p.numel() for p in parameters)
    memory = Memory(
        weights=_nbytes(method.parameters()),
        gradients=_nbytes(parameters),
        moments=_moments(training.config.optimizer) * _nbytes(parameters),
        buffers=_nbytes(method.buffers()),
        views=views * images // counted,
        activations=activations * min(images, train.chunk_size or images) // counted,
        data=own_loader(training).feed.held,
    )
    return Cost(
        steps=training.total_steps,
        images=training.seen(training.total_steps),
        processes=processes,
        micro_batch=images,
        parameters=count,
        encoder_parameters=sum(p.numel() for p in method.encoder.parameters()),
        flops_per_image=flops / counted + _second_pass(training, images),
        memory=memory,
    )


def _micro_batch(batch: int, accumulate: int, processes: int) -> int:
    images, rest = divmod(batch, accumulate * processes)
    if rest or not images:
        what = f"a batch of {batch} cannot be divided into {accumulate} parts of {processes} shares"
        hint = "choose a train.batch_size divisible by train.accumulate times the processes"
        raise ConfigError(what, "train.batch_size", hint)
    return images


def _nbytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors)


def _moments(config: OptimizerConfig) -> int:
    """Return how many numbers the optimiser keeps for each parameter."""
    if isinstance(config, AdamConfig):
        return 2
    if isinstance(config, RMSPropConfig):
        return 2 if config.momentum else 1
    return 0 if isinstance(config, SGDConfig) and config.momentum == 0 else 1


def _second_pass(training: Training, images: int) -> float:
    """Return the FLOPs of embedding an image again in the backward pass.

    The comparison of the batch is not repeated, nor the last layer, whose result no gradient needs.
    Two chunks of two images are enough to count, since every image costs the same.
    """
    size, method = training.config.train.chunk_size, training.method
    if size is None or images <= size:
        return 0.0
    assert isinstance(method, BatchContrast), "the config checks that it contrasts its batch"
    once, *_ = _pass(training, method, 4)
    twice, *_ = _pass(training, Chunked(method, 2), 4)
    return (twice - once) / 4


def _pass(training: Training, model: nn.Module, count: int) -> tuple[int, int, int]:
    """Return the FLOPs of one forward and backward, the bytes kept in between, and the batch's.

    Weights, buffers and views that autograd keeps are not counted: they exist anyway.
    """
    kept: dict[int, Any] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[id(storage)] = storage  # held, so that no later storage gets the same id
        return tensor

    fake = FakeTensorMode(allow_non_fake_inputs=True)  # such as a teacher's weights
    with fake as mode, FlopCounterMode(display=False, custom_mapping=_CPU) as counter:
        tensors = (*model.named_parameters(), *model.named_buffers())
        state: dict[str, Tensor] = {name: mode.from_tensor(tensor) for name, tensor in tensors}
        batch = own_loader(training).feed.example(count)
        batch = replace(batch, labels=torch.zeros_like(batch.rows))
        with autocast(training.device, training.precision), saved_tensors_hooks(keep, _same):
            output = functional_call(model, state, (batch, training.progress))
        inputs = list(_inputs(batch))
        for tensor in (*state.values(), *inputs):
            kept.pop(id(tensor.untyped_storage()), None)
        activations = sum(storage.nbytes() for storage in kept.values())
        output.loss.backward()
    return counter.get_total_flops(), activations, _nbytes(inputs)


def _inputs(batch: Batch) -> Iterator[Tensor]:
    yield from batch.views
    for text in batch.texts:
        yield from (text.ids, text.mask)


def _same(tensor: Tensor) -> Tensor:
    return tensor


def _attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return int(sdpa_flop_count(query, key, value))


def _attention_backward(gradient: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return int(sdpa_backward_flop_count(gradient, query, key, value))


# torch's counter knows the attention kernels of CUDA only.
_CPU = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}
