"""One training, or its share on one of several processes: what `test_ranks` compares."""

import torch

from sslcli import assemble
from sslcli.config.presets import resolve
from sslcli.data.splits import open_splits
from sslcli.engine import collective
from sslcli.engine.collective import gather, gather_with_gradient
from sslcli.engine.loop import train_step
from sslcli.losses.contrastive import nt_xent, sup_con
from sslcli.methods.base import Method, Output
from sslcli.nn.heads import mlp

CPU = torch.device("cpu")


class Objective(Method):
    """An encoder with a head whose BatchNorm is global, as SimCLR has."""

    gathers = True
    gather = staticmethod(gather_with_gradient)

    def __init__(self, config, encoder):
        super().__init__()
        self.encoder = encoder
        self.head = mlp([encoder.feature_dim, 32, 16], hidden_norm=True, output_norm="none")

    def embed(self, batch):
        return [self.gather(self.head(self.encoder(view))) for view in batch.views[:2]]


class NTXent(Objective):
    def forward(self, batch, progress):
        return Output(nt_xent(*self.embed(batch), temperature=0.2))


class SupCon(Objective):
    def forward(self, batch, progress):
        labels = gather(batch.labels).repeat(2)
        return Output(sup_con(torch.cat(self.embed(batch)), labels, temperature=0.2))


class OwnNegatives(NTXent):
    """The mistake of gathering without gradient, which must not pass."""

    gather = staticmethod(lambda own: torch.cat([gather(own)[: -len(own)], own]))


# Noise that each process draws for itself would be the only difference.
NOISELESS = {"hdge/digits": {"method.data_noise": 0.0}}
CLASSES = {"NT-Xent": NTXent, "SupCon": SupCon, "own negatives": OwnNegatives}


def trained(case, steps):
    """Train on the digits in float64; return the mean losses, the last gradients, the state.

    Args:
        case: A preset of a method, or one of `CLASSES`.
        steps: Optimiser steps of 32 images over all processes.
    """
    preset = "simsiam/digits" if case in CLASSES else case
    fields = {"train.batch_size": 32, "train.precision": "fp32", **NOISELESS.get(case, {})}
    config = resolve(preset, None, fields).config
    source = open_splits(config.data).train
    method = assemble.build_method(config, images=len(source))
    if case in CLASSES:
        torch.manual_seed(0)
        method = CLASSES[case](config.method, method.encoder)
    training = assemble.build_training(config, method.double(), source, CPU, "fp32")
    losses = []
    for batch, _ in zip(training.loader.epoch(0), range(steps), strict=False):
        batch.views[:] = [view.double() for view in batch.views]
        losses.append(collective.mean(train_step(training, [batch]).loss).item())
    gradients = {n: p.grad for n, p in training.method.named_parameters() if p.grad is not None}
    return losses, gradients, training.method.state_dict()
