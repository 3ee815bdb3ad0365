"""All messages to the other processes; with one process each call does nothing.

DistributedDataParallel averages gradients over processes. With `gather_with_gradient`, whose
backward sums the gradients of all processes, parameters then get exactly the gradient of one
process that has all samples. A gather without gradient would lose the gradient of the other
processes' embeddings.

Gather each view by itself, so that the order is view-major: view 1 of all processes, then view 2.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed
from torch.autograd.function import FunctionCtx
from torch.distributed import ProcessGroup, Work

from sslcli.distributed.exchange import CAPACITY, Exchange, suits
from sslcli.errors import PeerError

T = TypeVar("T")
_host: list[ProcessGroup] = []  # the group for values in host memory, once it is open
_apart: list[bool] = []  # not empty while this process acts alone
_exchange: list[Exchange] = []  # shared memory for small sums, where processes have it


def rank() -> int:
    """Return this process's number, 0 when there is only one."""
    return distributed.get_rank() if _running() else 0


def world_size() -> int:
    """Return the number of processes that train together."""
    return distributed.get_world_size() if _running() else 1


def is_main() -> bool:
    """Return whether this process is the one that writes and prints."""
    return rank() == 0


@contextmanager
def apart() -> Iterator[None]:
    """Let this process act as if it were the only one, such as to plan, while the context lasts."""
    before, _apart[:] = list(_apart), [True]
    try:
        yield
    finally:
        _apart[:] = before


def _running() -> bool:
    return not _apart and distributed.is_available() and distributed.is_initialized()


def gather(local: Tensor) -> Tensor:
    """Return every process's tensor, joined along the batch in the order of ranks; no gradient.

    Args:
        local: [B, ...], of the same shape on every process.

    Returns:
        [W * B, ...]; `local` itself, detached, with one process.
    """
    local = local.detach()
    if world_size() == 1:
        return local
    joined = local.new_empty((world_size() * len(local), *local.shape[1:]))
    distributed.all_gather_single(joined, local.contiguous())
    return joined


def gather_with_gradient(local: Tensor) -> Tensor:
    """Gather as `gather` does, with a gradient: the sum of those of all processes.

    Args:
        local: [B, ...], of the same shape on every process.

    Returns:
        [W * B, ...]; `local` itself with one process.
    """
    if world_size() == 1:
        return local
    joined: Tensor = _Gather.apply(local)
    return joined


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, local: Tensor) -> Tensor:
        return gather(local)

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> Tensor:
        return total(gradient.contiguous()).chunk(world_size())[rank()]


def total(local: Tensor) -> Tensor:
    """Return the sum of a tensor over all processes; no gradient."""
    local = local.detach()
    if world_size() == 1:
        return local
    is_small = local.dtype == torch.float64 and local.dim() == 1 and local.numel() <= CAPACITY
    if is_small and _exchange:
        return _exchange[0].total(local)
    local = local.clone()
    distributed.all_reduce(local)
    return local


def mean(local: Tensor) -> Tensor:
    """Return the mean of a tensor over all processes; no gradient."""
    return total(local) / world_size()


def mean_row(local: Tensor) -> Tensor:
    """Return the mean over the rows of all processes, which may differ in number; no gradient.

    Args:
        local: [B, ...].

    Returns:
        [...].
    """
    if world_size() == 1:
        return local.detach().mean(dim=0)
    return total(local.sum(dim=0)) / total(local.new_full((), len(local)))


def permutation(n: int, device: torch.device) -> Tensor:
    """Draw a permutation of the n samples of every process, the same on all of them, [W * n]."""
    order = torch.randperm(world_size() * n, device=device)
    if world_size() > 1:
        distributed.broadcast(order, src=0)
    return order


def deal(local: Tensor, order: Tensor) -> Tensor:
    """Put all processes' samples into an order and return this process's share; no gradient.

    MoCo's ShuffleBN (He et al. 2020, section 3.3): keys are encoded in `deal(images, order)`, whose
    BatchNorm sees other samples than the queries' does, and come back by
    `deal(keys, order.argsort())`.

    Args:
        local: [B, ...], of the same shape on every process.
        order: Permutation of all samples, [W * B], the same on every process.

    Returns:
        [B, ...].
    """
    own = order.chunk(world_size())[rank()]
    return gather(local).index_select(0, own)


def open_host_group(device: torch.device, local_size: int) -> None:
    """Open the channels for messages in host memory, which wait for no device.

    Args:
        device: Where this process trains.
        local_size: Number of processes on this machine.
    """
    group = distributed.new_group(backend="gloo")
    assert isinstance(group, ProcessGroup), "this process is one of the group"
    _host[:] = [group]
    if suits(device, world_size(), local_size):
        _exchange[:] = [Exchange(rank(), world_size(), from_main, wait)]
    else:
        _exchange.clear()


def from_main(value: T) -> T:
    """Return the first process's value on all processes."""
    if world_size() == 1:
        return value
    box = [value]
    distributed.broadcast_object_list(box, src=0, group=_host[0])
    return box[0]


def from_all(value: T) -> list[T]:
    """Return every process's value, by rank, on all processes."""
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    distributed.all_gather_object(values, value, group=_host[0])
    return values


def wait() -> None:
    """Wait until every process is here."""
    if world_size() > 1:
        distributed.barrier(group=_host[0])


def together(work: Callable[[], object]) -> None:
    """Do this process's part of a common task, and fail on all processes when it fails on one.

    Raises:
        Exception: What `work` raised here.
        PeerError: If it failed on another process only.
    """
    fault = None
    try:
        work()
    except Exception as error:
        fault = error
    failed = [number for number, bad in enumerate(from_all(fault is not None)) if bad]
    if fault:
        raise fault
    if failed:
        raise PeerError(f"process {failed[0]} failed")


@contextmanager
def main_first(is_first: bool) -> Iterator[None]:
    """Let the processes with `is_first` go before the others, such as to fill a cache."""
    if not is_first:
        wait()
    try:
        yield
    finally:
        if is_first:
            wait()


class Ballot:
    """Agree on a number without waiting: each call returns the greatest vote of the call before.

    The votes of a step travel while the next one is computed. With one process a vote counts at
    once.
    """

    def __init__(self) -> None:
        self._pending: tuple[Work, Tensor] | None = None

    def __call__(self, vote: int) -> int:
        """Cast a vote; return what all agreed on, 0 at the first call of several processes."""
        if world_size() == 1:
            return vote
        agreed = 0
        if self._pending:
            work, box = self._pending
            work.wait()
            agreed = int(box)
        box = torch.tensor(vote)
        work = distributed.all_reduce(
            box, op=distributed.ReduceOp.MAX, group=_host[0], async_op=True
        )
        self._pending = work, box
        return agreed
