"""One training, or its share on one of several processes: what `test_ranks` compares."""

import torch

from sslcli import assemble
from sslcli.config.presets import resolve
from sslcli.data.sources.splits import open_splits
from sslcli.distributed import collective
from sslcli.engine.loop import steps, train_step
from sslcli.losses.contrastive import nt_xent
from sslcli.methods.base import Output
from sslcli.methods.cmc import CMC
from sslcli.methods.simclr import SimCLR

CPU = torch.device("cpu")


class OwnNegatives(SimCLR):
    """The mistake of gathering without gradient, which must not pass."""

    def compare(self, embeddings, batch, progress):
        a, b = (self.joined(z) for z in embeddings)
        return Output(nt_xent(a, b, self.config.temperature))

    @staticmethod
    def joined(own):
        parts = list(collective.gather(own).chunk(collective.world_size()))
        parts[collective.rank()] = own
        return torch.cat(parts)


class SameRows(CMC):
    """CMC whose drawn rows are a function of the image, so that no process draws others."""

    def _drawn(self, rows):
        steps = torch.arange(1, 1 + self.config.negatives)
        return (7 * rows[:, None] + 13 * steps) % self.config.num_instances


# Noise that each process draws for itself would be the only difference. MoCo's parts of a batch
# hold other images when processes deal them out; statistics of all do not mind the order.
WHOLE = {"method.splits": 1, "train.sync_batch_norm": True}
SHUT = {"kind": "none"}
NOISELESS = {
    "cmc/digits": {"method.loss": "nce"},
    "cmc in batch": {"method.loss": "batch", "method.negatives": 0},
    "advprop/digits": {"method.attack.targeted": False, "method.attack.noise": 0.0},
    "hdge/digits": {"method.data_noise": 0.0},
    "amdim/digits": {"method.online.dropout": 0.0},
    "moco-v1/digits": WHOLE,
    "moco-v2/digits": WHOLE | {"method.symmetric": True},
    "cpc-v1/digits": {"method.negatives": 0},
    "simcse/phrases": {"encoder.dropout": 0.0},
    "esimcse/phrases": {"encoder.dropout": 0.0, "method.queue": 48},
    "consert/phrases": {"method.first": SHUT, "method.second": SHUT},
}
PRESETS = {"own negatives": "simclr/digits", "cmc in batch": "cmc/digits"}
INSTEAD = {"own negatives": OwnNegatives, "cmc/digits": SameRows}  # of the preset's class


def trained(case, count, **more):
    """Train on the digits in float64; return the mean losses, the last gradients, the state.

    Args:
        case: A preset, or one of `PRESETS`.
        count: Optimiser steps of 32 images over all processes.
        more: Fields of the config.
    """
    preset = PRESETS.get(case, case)
    fields = {"train.batch_size": 32, "train.precision": "fp32", **NOISELESS.get(case, {})}
    config = resolve(preset, None, fields | more).config
    source = open_splits(config.data).train
    config = assemble.settled(config, source)
    method = assemble.build_method(config, facts=assemble.facts_of(source))
    if case in INSTEAD:
        torch.manual_seed(0)
        method = INSTEAD[case](method.config, method.encoder)
    training = assemble.build_training(config, method.double(), source, CPU, "fp32")
    losses = []
    for batches, _ in zip(steps(training), range(count), strict=False):
        batches = list(batches)
        for batch in batches:
            batch.views[:] = [view.double() for view in batch.views]
        losses.append(collective.mean(train_step(training, batches).loss).item())
    gradients = {n: p.grad for n, p in training.method.named_parameters() if p.grad is not None}
    return losses, gradients, training.method.state_dict()
