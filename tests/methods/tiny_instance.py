"""Tiny networks and batches for the tests of instance discrimination."""

import torch
from torch import nn

from sslcli.data.batch import Batch
from sslcli.methods.base import Progress

PROGRESS = Progress(step=0, total_steps=10, steps_per_epoch=5)


def tiny_encoder():
    torch.manual_seed(0)
    encoder = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(24, 12)
    )
    encoder.feature_dim = 12
    return encoder


def batch(size=8, seed=1, first=0):
    generator = torch.Generator().manual_seed(seed)
    views = [torch.randn(size, 3, 4, 4, generator=generator) for _ in range(2)]
    return Batch(views, torch.arange(first, first + size))


def stepped(method, one):
    """Make one step of gradient descent and what follows it; return the output."""
    output = method(one, PROGRESS)
    output.loss.backward()
    with torch.no_grad():
        for parameter in method.parameters():
            if parameter.grad is not None:
                parameter -= 0.1 * parameter.grad
                parameter.grad = None
    method.after_step(PROGRESS, output.carry)
    return output
