"""Make a training step of tensors without content, and count its operations and its memory."""

import weakref
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from sslcli.data.batch import Batch
from sslcli.distributed.collective import apart
from sslcli.engine.chunking import Chunked
from sslcli.engine.device import autocast
from sslcli.engine.loop import Training
from sslcli.methods.base import Output, Progress, reads
from sslcli.profile.preparing import own_loader


class Living(TorchDispatchMode):
    """Count the bytes of the tensors that operations make, as long as they live.

    Attributes:
        now: Bytes that live.
        peak: Most bytes that have lived at once.

    Args:
        known: Tensors that are not counted, for they exist anyway.
    """

    def __init__(self, known: Iterable[Tensor]) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._sizes = {_place(tensor): 0 for tensor in known}
        self._kept: set[int] = set()

    def keep(self, tensor: Tensor) -> Tensor:
        """Note that autograd keeps a tensor for the backward pass; return it."""
        self._kept.add(_place(tensor))
        return tensor

    @property
    def kept(self) -> int:
        """Bytes of the living tensors that autograd keeps."""
        return sum(self._sizes.get(place, 0) for place in self._kept)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in tree_iter(made):
            if isinstance(tensor, Tensor):
                self._enter(tensor)
        return made

    def _enter(self, tensor: Tensor) -> None:
        storage, place = tensor.untyped_storage(), _place(tensor)
        if place in self._sizes:
            return
        self._sizes[place] = storage.nbytes()
        self.now += storage.nbytes()
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._leave, place).atexit = False

    def _leave(self, place: int) -> None:
        self.now -= self._sizes.pop(place, 0)
        self._kept.discard(place)


def _place(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


@dataclass(frozen=True)
class Pass:
    """One forward and backward pass.

    Attributes:
        flops: Operations; a multiplication and an addition count as two.
        activations: Bytes that autograd keeps between forward and backward, without weights,
            buffers and views, which exist anyway.
        peak: Most bytes that live at once, without those either: activations, gradients and what
            operations need for a while.
        batch: Bytes of the views and tokens.
    """

    flops: int
    activations: int
    peak: int
    batch: int


def simulate(
    training: Training,
    model: nn.Module,
    count: int,
    *,
    has_gradients: bool = False,
    is_counting: bool = True,
) -> Pass:
    """Pass a batch of `count` samples through a model and back, without computing anything.

    Neither weights nor statistics nor random states change.

    Args:
        training: How and where; its weights need no content.
        model: Its method, or one that calls it.
        count: Samples, at least 2 where BatchNorm takes statistics of them.
        has_gradients: Whether gradients of an earlier part of the step are there to be added to.
        is_counting: Whether to count operations, which takes a while.
    """
    fake = FakeTensorMode(allow_non_fake_inputs=True)  # such as a teacher's weights
    with ExitStack() as stack:
        stack.enter_context(apart())
        stack.enter_context(torch.random.fork_rng(devices=()))
        stack.enter_context(fake)
        counter = FlopCounterMode(display=False, custom_mapping=_CPU)
        # torch's own tracker of modules fails where a forward pass takes gradients
        counter.mod_tracker = _Whole()  # type: ignore[assignment]
        if is_counting:
            stack.enter_context(counter)
        step = _ThereAndBack(model, training)
        state = _without_content(step, training.device)
        batch = own_loader(training).feed.example(count)
        batch = replace(batch, labels=torch.zeros_like(batch.rows))
        living = stack.enter_context(Living((*state.values(), *_tensors(batch))))
        if has_gradients:
            for tensor in filter(lambda tensor: tensor.requires_grad, state.values()):
                tensor.grad = torch.empty_like(tensor)
        activations = functional_call(step, state, (batch, living))
        return Pass(counter.get_total_flops(), activations, living.peak, nbytes(_tensors(batch)))


class _ThereAndBack(nn.Module):
    """A forward and a backward pass in one, for the latter may run the model again.

    Args:
        model: The method, or what calls it.
        training: How.
    """

    def __init__(self, model: nn.Module, training: Training) -> None:
        super().__init__()
        self.model, self._training = model, training

    def forward(self, batch: Batch, living: Living) -> int:
        """Return the bytes that autograd keeps in between."""
        with (
            autocast(self._training.device, self._training.precision),
            saved_tensors_hooks(living.keep, lambda tensor: tensor),
        ):
            output = self.model(batch, self._training.progress)
        kept = living.kept
        output.loss.backward()
        return kept


def embedding(training: Training, count: int) -> int:
    """Return the most bytes that live while the encoder embeds `count` samples for an evaluation.

    The samples themselves are counted: images of the data's size, or texts.
    """
    encoder = training.method.encoder
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    with apart(), fake, torch.no_grad(), torch.random.fork_rng(devices=()):
        state = _without_content(encoder, training.device)
        with Living(state.values()) as living:
            if reads(encoder) == "text":
                text = own_loader(training).feed.example(count).texts[0]
                inputs: tuple[Tensor, ...] = text.ids, text.mask
            else:
                side = training.config.data.pixels.image_size
                inputs = (torch.empty(count, 3, side, side, device=training.device),)
            with autocast(training.device, training.precision):
                functional_call(encoder, state, inputs)
        return int(living.peak)


class OneChunk(Chunked):
    """Embed the first chunk of a batch and make up the rest: as much memory lives as for all."""

    def forward(self, batch: Batch, progress: Progress) -> Output:
        """Return the loss of one batch."""
        embedded = self._embed(next(batch.chunks(ceil(len(batch) / self.size))))
        rest = len(batch) - len(embedded[0])
        made_up = (part.new_zeros(rest, *part.shape[1:]) for part in embedded)
        joined = tuple(torch.cat(pair) for pair in zip(embedded, made_up, strict=True))
        return self.method.compare(joined, batch, progress)


def _without_content(model: nn.Module, device: torch.device) -> dict[str, Tensor]:
    """Return a model's parameters and buffers by name, as they would lie on the device."""
    state: dict[str, Tensor] = {}
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        empty = torch.empty_strided(
            tensor.shape, tensor.stride(), dtype=tensor.dtype, device=device
        )
        state[name] = empty.requires_grad_(tensor.requires_grad)
    return state


def _tensors(batch: Batch) -> Iterator[Tensor]:
    yield from batch.views
    for text in batch.texts:
        yield from (text.ids, text.mask)


def nbytes(tensors: Iterable[Tensor]) -> int:
    """Return the bytes of tensors that share no memory."""
    return sum(tensor.nbytes for tensor in tensors)


class _Whole(nullcontext[None]):
    """Stands for torch's tracker of modules, where operations are counted together."""

    parents = frozenset({"Global"})


def _attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return int(sdpa_flop_count(query, key, value))


def _attention_backward(gradient: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return int(sdpa_backward_flop_count(gradient, query, key, value))


# torch's counter knows the attention kernels of CUDA only.
_CPU = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}
