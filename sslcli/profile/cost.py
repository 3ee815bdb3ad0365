"""Estimate the cost of a training from shapes, before anything is trained."""

from dataclasses import dataclass

from sslcli.config.optimizers import AdamConfig, OptimizerConfig, RMSPropConfig, SGDConfig
from sslcli.engine.chunking import Chunked
from sslcli.engine.loop import Training
from sslcli.errors import ConfigError
from sslcli.methods.base import BatchContrast
from sslcli.profile.preparing import own_loader
from sslcli.profile.simulation import OneChunk, embedding, nbytes, simulate

_HOLES = 0.3  # of a step's bytes; examples/benchmarks/estimate.py measured 0.1 to 0.5


@dataclass(frozen=True)
class Memory:
    """Bytes that one process takes while it trains.

    Those of gradients and of activations never live all at once with each other; `step` is what
    there is of both at the peak, with what operations need for a while.

    Attributes:
        weights: Parameters of the method, target networks included.
        gradients: One for each trainable parameter. DistributedDataParallel's buckets are the
            gradients themselves (`gradient_as_bucket_view`), so they add nothing.
        moments: State of the optimiser: two numbers a trainable parameter with Adam, one with
            momentum, none with plain SGD.
        buffers: Running statistics, queues, banks, centres.
        views: The float32 images and the tokens that are held while a micro-batch is worked on:
            its own, and those that are made together with them.
        activations: Tensors of one micro-batch that autograd keeps between forward and backward,
            without those gathered from other processes.
        data: The data set, when it lies decoded in the device's memory.
        step: The most that is needed besides weights, moments, buffers, views and data, in any of
            forward and backward, the optimiser, the making of views, and saving.
        heap: Holes between blocks of a CPU's memory, which the C library keeps: `step` comes and
            goes in blocks of many sizes.
        host: In the host's memory besides: batches on their way, and worker processes.
    """

    weights: int
    gradients: int
    moments: int
    buffers: int
    views: int
    activations: int
    data: int
    step: int
    heap: int
    host: int

    @property
    def device(self) -> int:
        """All that lies on the device."""
        lasting = self.weights + self.moments + self.buffers
        return lasting + self.views + self.data + self.step + self.heap

    @property
    def total(self) -> int:
        """All that lies on the device and in the host's memory, which are one on a CPU."""
        return self.device + self.host


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


def estimate(training: Training, processes: int = 1, embedded: int = 0) -> Cost:
    """Count the operations and the memory of a step on tensors without content, in about a second.

    Args:
        training: The training, built for one process; a plan is enough.
        processes: Processes that would share each batch.
        embedded: Samples that the encoder embeds at a time as it is evaluated in between.

    Raises:
        ConfigError: If the batch cannot be divided among the processes.
    """
    method, chunk = training.method, training.config.train.chunk_size
    images = _micro_batch(training, processes)
    counted = max(2, images)
    flops = simulate(training, method, counted).flops / counted
    if chunk and chunk < images:
        flops += _second_pass(training)
    return Cost(
        steps=training.total_steps,
        images=training.seen(training.total_steps),
        processes=processes,
        micro_batch=images,
        parameters=sum(p.numel() for p in method.parameters() if p.requires_grad),
        encoder_parameters=sum(p.numel() for p in method.encoder.parameters()),
        flops_per_image=flops,
        memory=estimate_memory(training, processes, embedded),
    )


def estimate_memory(training: Training, processes: int = 1, embedded: int = 0) -> Memory:
    """Return the memory of one process; see `estimate`."""
    method, train = training.method, training.config.train
    images = _micro_batch(training, processes)
    counted = max(2, images)  # BatchNorm's statistics need two images; SyncBN has them elsewhere
    chunk = max(2, min(counted, train.chunk_size or counted))
    had = train.accumulate > 1 or processes > 1
    found = simulate(training, method, chunk, has_gradients=had, is_counting=False)
    peak = found.peak
    if chunk < counted:
        model = OneChunk(_contrasting(training), chunk)
        whole = simulate(training, model, counted, has_gradients=True, is_counting=False)
        peak = whole.peak
    if embedded:
        gradients = nbytes(p for p in method.parameters() if p.requires_grad)
        peak = max(peak, gradients + embedding(training, embedded))
    return _memory(training, images, found.activations * min(images, chunk) // chunk, peak)


def _contrasting(training: Training) -> BatchContrast:
    method = training.method
    assert isinstance(method, BatchContrast), "the config checks that it contrasts its batch"
    return method


def _micro_batch(training: Training, processes: int) -> int:
    batch, accumulate = training.config.train.batch_size, training.config.train.accumulate
    images, rest = divmod(batch, accumulate * processes)
    if rest or not images:
        what = f"a batch of {batch} cannot be divided into {accumulate} parts of {processes} shares"
        hint = "choose a train.batch_size divisible by train.accumulate times the processes"
        raise ConfigError(what, "train.batch_size", hint)
    return images


def _memory(training: Training, images: int, activations: int, peak: int) -> Memory:
    """Return the bytes of a process that takes so many images at a time."""
    method, feed = training.method, own_loader(training).feed
    stock = feed.stock(images)
    weights, buffers = nbytes(method.parameters()), nbytes(method.buffers())
    gradients = nbytes(p for p in method.parameters() if p.requires_grad)
    moments = _moments(training.config.optimizer) * gradients
    phases = (
        peak,
        gradients + _updating(training, gradients),
        gradients + stock.making - stock.step,
        gradients + _saving(training, weights + buffers, moments),
    )
    return Memory(
        weights=weights,
        gradients=gradients,
        moments=moments,
        buffers=buffers,
        views=stock.step,
        activations=activations,
        data=feed.held,
        step=max(phases),
        heap=round(_HOLES * max(phases)) if training.device.type == "cpu" else 0,
        host=stock.host,
    )


def _moments(config: OptimizerConfig) -> int:
    """Return how many numbers the optimiser keeps for each parameter."""
    if isinstance(config, AdamConfig):
        return 2
    if isinstance(config, RMSPropConfig):
        return 2 if config.momentum else 1
    return 0 if isinstance(config, SGDConfig) and config.momentum == 0 else 1


def _updating(training: Training, gradients: int) -> int:
    """Return the bytes that the optimiser needs for a while.

    torch updates all parameters together on CUDA, with a copy of all, and one by one elsewhere.
    """
    if training.device.type == "cuda":
        return gradients
    return 2 * max((p.nbytes for p in training.method.parameters() if p.requires_grad), default=0)


def _saving(training: Training, weights: int, moments: int) -> int:
    """Return the bytes of what is laid out anew to be written, and of the file's content."""
    return 2 * max(weights, moments) if training.device.type == "cpu" else 0


def _second_pass(training: Training) -> float:
    """Return the FLOPs of embedding an image again in the backward pass.

    The comparison of the batch is not repeated, nor the last layer, whose result no gradient needs.
    Two chunks of two images are enough to count, since every image costs the same.
    """
    method = _contrasting(training)
    once = simulate(training, method, 4)
    twice = simulate(training, Chunked(method, 2), 4)
    return (twice.flops - once.flops) / 4
