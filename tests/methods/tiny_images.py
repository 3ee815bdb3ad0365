"""Tiny batches and encoders for the tests of methods that compare views."""

import torch
from torch import nn

from sslcli.data.batch import Batch
from sslcli.methods.base import Progress

PROGRESS = Progress(step=0, total_steps=10, steps_per_epoch=5)


def flat_encoder():
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(48, 12), nn.ReLU())
    encoder.feature_dim = 12
    return encoder


def pairs(size=6, labels=None, seed=1):
    """Return a batch of two noise views an image."""
    generator = torch.Generator().manual_seed(seed)
    views = [torch.randn(size, 3, 4, 4, generator=generator) for _ in range(2)]
    return Batch(views, torch.arange(size), labels)


def stepped(method, batch, rate):
    """Run forward, backward, a step of plain gradient descent and after_step; return the output."""
    output = method(batch, PROGRESS)
    output.loss.backward()
    method.before_step(PROGRESS)
    with torch.no_grad():
        for parameter in method.parameters():
            if parameter.grad is not None:
                parameter -= rate * parameter.grad
        method.after_step(PROGRESS, output.carry)
    return output
