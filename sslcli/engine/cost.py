"""What a training will cost, counted from shapes before anything is trained."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from sslcli.data.batch import Batch
from sslcli.engine.loop import Training
from sslcli.engine.precision import autocast


@dataclass(frozen=True)
class Cost:
    """The price of a run.

    Attributes:
        steps: Optimiser steps.
        parameters: Trainable numbers of the method.
        encoder_parameters: Numbers of the encoder.
        flops_per_image: Forward and backward through all views of an image; a multiplication and
            an addition count as two.
        weights_bytes: Weights, gradients and a moment for each (two with Adam).
        activation_bytes: What autograd keeps of one micro-batch.
    """

    steps: int
    parameters: int
    encoder_parameters: int
    flops_per_image: float
    weights_bytes: int
    activation_bytes: int


def estimate(training: Training) -> Cost:
    """Count a step on tensors without content; takes a second and no memory."""
    method, config = training.method, training.config
    parameters = [p for p in method.parameters() if p.requires_grad]
    count = sum(p.numel() for p in parameters)
    moments = 2 if config.optimizer.name.startswith("adam") else 1
    images = config.train.batch_size // config.train.accumulate
    flops, activations = _pass(training, images)
    return Cost(
        steps=training.total_steps,
        parameters=count,
        encoder_parameters=sum(p.numel() for p in method.encoder.parameters()),
        flops_per_image=flops / images,
        weights_bytes=4 * (sum(p.numel() for p in method.parameters()) + (1 + moments) * count),
        activation_bytes=activations,
    )


def _pass(training: Training, images: int) -> tuple[int, int]:
    """Return the FLOPs of one forward and backward, and the bytes kept in between."""
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[id(tensor.untyped_storage())] = tensor.untyped_storage().nbytes()
        return tensor

    counter = FlopCounterMode(display=False)
    with FakeTensorMode() as mode, counter:
        state: dict[str, Tensor] = {
            name: mode.from_tensor(tensor)
            for name, tensor in (
                *training.method.named_parameters(),
                *training.method.named_buffers(),
            )
        }
        batch = _empty_batch(training, images)
        with autocast(training.device, training.precision), saved_tensors_hooks(keep, _same):
            output = functional_call(training.method, state, (batch, training.progress))
        output.loss.backward()
    return counter.get_total_flops(), sum(kept.values())


def _same(tensor: Tensor) -> Tensor:
    return tensor


def _empty_batch(training: Training, images: int) -> Batch:
    device = training.device
    views = [
        torch.empty(images, 3, view.size, view.size, device=device)
        for view in training.config.views
        for _ in range(view.count)
    ]
    rows = torch.zeros(images, dtype=torch.int64, device=device)
    return Batch(views, rows, torch.zeros_like(rows))
