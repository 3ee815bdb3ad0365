"""A method, a loader and a training small enough to reason about."""

from typing import ClassVar

import numpy as np
import torch
from torch import nn

from sslcli import assemble
from sslcli.config.schema import Config
from sslcli.data.batch import Batch
from sslcli.data.order import epoch_order
from sslcli.data.sources.base import ArraySource
from sslcli.engine.loop import Training
from sslcli.engine.optim import build_optimizer
from sslcli.methods.base import Method, Output


class ToyMethod(Method):
    """Noise, dropout-like randomness, BatchNorm and a buffer: all that a resume must restore."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(12, 6), nn.BatchNorm1d(6))
        self.encoder.feature_dim = 6
        self.register_buffer("seen", torch.zeros(6))

    def forward(self, batch, progress):
        z = self.encoder(batch.views[0] + 0.1 * torch.randn_like(batch.views[0]))
        return Output(z.pow(4).mean(), {"mean": z.detach().mean()}, {"z": z.detach()}, z.detach())

    def after_step(self, progress, carry):
        self.seen.lerp_(carry["z"].mean(dim=0), 0.1)


class ToyLoader:
    """Four batches an epoch whose content is a function of epoch and number."""

    bad: ClassVar[dict[int, str]] = {}
    mode = "made up"
    waited = 0.0
    remedy = "wait"
    images = 32

    def __len__(self):
        return 4

    def epoch(self, epoch, start=0):
        for index in range(start, 4):
            generator = torch.Generator().manual_seed(100 * epoch + index)
            yield Batch([torch.randn(8, 3, 2, 2, generator=generator)], torch.arange(8))


def toy_config(**train):
    sgd = {
        "name": "sgd",
        "base_lr": 0.1,
        "lr_scaling": "none",
        "momentum": 0.9,
        "weight_decay": 0.01,
    }
    return Config.model_validate(
        {
            "method": {"name": "simsiam", "projector_layers": 2, "dim": 8, "predictor_hidden": 4},
            "encoder": {"name": "resnet8"},
            "data": {"image_size": 8, "mean": (0, 0, 0), "std": (1, 1, 1)},
            "views": [{"count": 2, "size": 8, "crop_scale": (0.5, 1.0)}],
            "optimizer": sgd,
            "schedule": {"name": "cosine"},
            "train": {
                "duration": "3 epochs",
                "batch_size": 8,
                "precision": "fp32",
                "checkpoint_every": "3 steps",
                "log_every": "2 steps",
                **train,
            },
            "evaluation": {"k": 5, "temperature": 0.1},
        }
    )


def toy_training(**train):
    torch.manual_seed(0)
    method, config = ToyMethod(), toy_config(**train)
    return Training(
        method=method,
        model=method,
        optimizer=build_optimizer(method.param_groups(), config.optimizer, 8),
        scaler=torch.amp.GradScaler("cpu", enabled=False),
        loader=ToyLoader(),
        config=config,
        device=torch.device("cpu"),
        precision="fp32",
    )


class Silent:
    """A watcher that keeps what it is told."""

    def __init__(self):
        self.rows, self.warnings = [], []

    def step(self, step):
        pass

    def metrics(self, row):
        self.rows.append(dict(row))

    def warn(self, text):
        self.warnings.append(text)


class Pieces(Method):
    """A mean over samples without BatchNorm, so that a batch in parts is the whole batch."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(192, 3), nn.Tanh()).double()
        self.encoder.feature_dim = 3

    def forward(self, batch, progress):
        z = self.encoder(batch.views[0].double())
        return Output(z.square().sum(dim=1).mean(), {"value": z.detach().mean()}, {}, z.detach())


def piecewise(images, drop_last=False, rate=0.1, **train):
    """Return a training of `Pieces` on noise, for two epochs."""
    torch.manual_seed(0)
    plan = {"duration": "2 epochs", "drop_last": drop_last, **train}
    config = toy_config(**plan)
    config = config.model_copy(
        update={"optimizer": config.optimizer.model_copy(update={"base_lr": rate})}
    )
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (images, 3, 8, 8), dtype=np.uint8)
    source = ArraySource("noise", pixels)
    return assemble.build_training(config, Pieces(), source, torch.device("cpu"), "fp32")


def even_pieces(images):
    """Return the loss and value of each image in the first epoch's order, for weights at rest."""
    training = piecewise(images, batch_size=1)
    batches = list(training.loader.epoch(0))
    assert [int(batch.rows) for batch in batches] == epoch_order(images, 0, 0).tolist()
    outputs = [training.model(batch, training.progress) for batch in batches]
    losses = torch.stack([output.loss.detach() for output in outputs])
    return losses, torch.stack([output.metrics["value"] for output in outputs])
