"""Put data, views, method and optimiser together to a training."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from sslcli.assemble.colour import need_colour
from sslcli.assemble.facts import completed_section, facts_of
from sslcli.assemble.models import build_method
from sslcli.assemble.reading import text_views
from sslcli.config.schema import Config
from sslcli.config.section import Column
from sslcli.data.images.views import Views
from sslcli.data.loader import TrainLoader
from sslcli.data.sources.base import need
from sslcli.data.sources.open import Source
from sslcli.distributed.collective import rank, world_size
from sslcli.distributed.sync_norm import synchronize
from sslcli.engine.device import Precision, grad_scaler
from sslcli.engine.loop import Training
from sslcli.engine.optim import build_optimizer
from sslcli.engine.parallel import model_of, part_random_states
from sslcli.environment import world
from sslcli.errors import ConfigError
from sslcli.methods.base import Method


def build_training(
    config: Config,
    method: Method,
    source: Source,
    device: torch.device,
    precision: Precision,
    progress: Callable[[int, int], None] | None = None,
) -> Training:
    """Return a training at step 0.

    Args:
        config: What to train and how.
        method: Already on the device.
        source: The training part of the data.
        device: Where to train.
        precision: "bf16", "fp16" or "fp32".
        progress: Called while images are decoded.

    Raises:
        ConfigError: If the data cannot fill a batch.
        DataError: If the data is not of the kind that the method reads.
    """
    train = config.train
    if method.gathers and world_size() > 1 and not train.drop_last:
        what = f"{config.method.name} compares samples over processes, and needs equally many"
        raise ConfigError(what, "train.drop_last", "set it to true")
    loader = _loader(
        config,
        method,
        source,
        device,
        rank=rank(),
        world_size=world_size(),
        machine_share=min(world().local_size, world_size()),
        progress=progress,
    )
    if train.sync_batch_norm:
        synchronize(method, device)
    training = _training(config, method, model_of(method, device, train), loader, device, precision)
    part_random_states(config.seed)
    return training


def plan_training(
    config: Config,
    source: Source,
    device: torch.device,
    precision: Precision,
    *,
    method: Method | None = None,
    machine_share: int = 1,
) -> Training:
    """Return a training to be estimated and never run, in a second and little memory.

    It is that of one process. Its weights have no content, and no more than a few images are
    decoded. The random state is as it was.

    Args:
        config: What would be trained and how.
        source: The training part of the data.
        device: Where.
        precision: "bf16", "fp16" or "fp32".
        method: One that exists already, on the device; None for the config's.
        machine_share: Processes that would train on this machine.

    Raises:
        ConfigError: As `build_training` and `build_method` do.
        DataError: If the data is not of the kind that the method reads.
    """
    with torch.random.fork_rng(devices=()):
        if method is None:
            with torch.device("meta"):
                method = build_method(config, "meta", facts_of(source))
        loader = _loader(config, method, source, device, machine_share=machine_share, is_plan=True)
        return _training(config, method, method, loader, device, precision)


def _loader(
    config: Config, method: Method, source: Source, device: torch.device, **how: Any
) -> TrainLoader:
    """Return the loader of what the method reads; `how` says for which process."""
    train = config.train
    section = completed_section(config, facts_of(source))
    need(source, *sorted(section.reads), *_columns(config))
    if section.contrasts_channels:
        need_colour(config, source)
    shown = "image" in section.reads and config.views
    views = Views(config.views, config.data.pixels, config.seed) if shown else None
    return TrainLoader(
        source,
        config.data,
        views,
        batch_size=train.batch_size // train.accumulate,
        seed=config.seed,
        device=device,
        drop_last=train.drop_last,
        parts=train.accumulate,
        least=2 if any(isinstance(m, _BatchNorm) for m in method.modules()) else 1,
        labelled=section.learns_labels or section.watches_labels,
        texts=text_views(config) if "text" in section.reads else None,
        **how,
    )


def _columns(config: Config) -> list[Column]:
    """Return the columns of the data that the views of texts take beside the first sentence."""
    columns: dict[int, Column] = {2: "pair", 3: "triplet"}
    return [columns[view.sentence] for view in config.texts if view.sentence in columns]


def _training(
    config: Config,
    method: Method,
    model: nn.Module,
    loader: TrainLoader,
    device: torch.device,
    precision: Precision,
) -> Training:
    method.train()  # the method itself, whose override may keep parts in evaluation mode
    training = Training(
        method=method,
        model=model,
        optimizer=build_optimizer(method.param_groups(), config.optimizer, config.train.batch_size),
        scaler=grad_scaler(device, precision),
        loader=loader,
        config=config,
        device=device,
        precision=precision,
    )
    training.check()
    return training
