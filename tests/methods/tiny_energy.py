"""Tiny batches and networks for the tests of energy-based methods."""

import torch

from sslcli.data.batch import Batch
from sslcli.methods.base import Progress
from sslcli.nn.wide_resnet import WideResNet

SAMPLER = {"steps": 2, "step_size": 0.1, "noise": 0.01, "bounds": [-1.0, 1.0]}


def tiny_encoder():
    torch.manual_seed(0)
    return WideResNet(10, 1, norm="none", activation="silu")


def batch(size=6, *, labelled=True):
    generator = torch.Generator().manual_seed(3)
    views = [torch.rand(size, 3, 8, 8, generator=generator) * 2 - 1 for _ in range(2)]
    rows = torch.arange(size)
    return Batch(views, rows, rows % 4 if labelled else None)


def progress():
    return Progress(0, 10, 5)


def passes(method, one):
    """Count how often one forward of the method runs its encoder."""
    calls = []
    handle = method.encoder.register_forward_hook(lambda *_: calls.append(1))
    method(one, progress())
    handle.remove()
    return len(calls)


def stepped(method, one):
    """Run forward, backward and after_step; return the output."""
    output = method(one, progress())
    output.loss.backward()
    method.before_step(progress())
    method.after_step(progress(), output.carry)
    return output
