"""Prepare a model and its random numbers to train as one of several processes."""

from typing import cast

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from sslcli.config.schema import TrainConfig
from sslcli.distributed.collective import rank, world_size
from sslcli.engine.chunking import Chunked
from sslcli.methods.base import BatchContrast, Method


def model_of(method: Method, device: torch.device, train: TrainConfig) -> nn.Module:
    """Return the method, chunked or compiled, with gradients averaged over processes.

    Buffers are not broadcast each step. Synchronised statistics are equal anyway; of local ones the
    first process's are saved, as in the papers' code.
    """
    model: nn.Module = method
    if train.chunk_size:
        assert isinstance(method, BatchContrast), "the config checks that it contrasts its batch"
        model = Chunked(method, train.chunk_size)
    if train.compile:
        model = cast(nn.Module, torch.compile(method))
    if world_size() == 1:
        return model
    return DistributedDataParallel(
        model,
        device_ids=[device.index] if device.type == "cuda" else None,
        forward_sync_buffers=False,
        gradient_as_bucket_view=True,
    )


def part_random_states(seed: int) -> None:
    """Let each process draw its own noise from now on; the first one keeps the run's state."""
    if rank():
        torch.manual_seed(seed + (rank() << 32))
