"""Tiny networks and batches for the tests of instance discrimination."""

from dataclasses import replace

import torch
from tiny_images import PROGRESS, pairs
from torch import nn


def tiny_encoder():
    torch.manual_seed(0)
    encoder = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(24, 12)
    )
    encoder.feature_dim = 12
    return encoder


def batch(size=8, seed=1, first=0):
    return replace(pairs(size, seed=seed), rows=torch.arange(first, first + size))


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
