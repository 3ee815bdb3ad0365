"""Norms by name; BatchNorm over parts of a batch, or with another branch for other images."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

NormName = Literal["batch", "layer", "none"]


def norm2d(name: NormName, channels: int) -> nn.Module:
    """Return BatchNorm, layer norm over channels and places of a sample, or nothing."""
    if name == "layer":
        return nn.GroupNorm(1, channels)
    return nn.BatchNorm2d(channels) if name == "batch" else nn.Identity()


def split_batch_norm(module: nn.Module, splits: int) -> nn.Module:
    """Return a module whose BatchNorms take their statistics in `splits` parts of the batch.

    Parameters, buffers and their names stay what they are, so that weights fit either module.
    """
    if splits == 1:
        return module
    for name, child in list(module.named_children()):
        setattr(module, name, split_batch_norm(child, splits))
    return SplitBatchNorm.of(module, splits) if isinstance(module, _BatchNorm) else module


class SplitBatchNorm(_BatchNorm):
    """Normalise each of equal, consecutive parts of the batch by its own mean and variance.

    It imitates on one device what BatchNorm does on several (MoCo's CIFAR-10 demo). The running
    statistics move towards the parts' mean statistics; evaluation is that of any BatchNorm, and
    with one part so is training.
    """

    splits = 1

    @classmethod
    def of(cls, norm: _BatchNorm, splits: int) -> "SplitBatchNorm":
        """Return a layer that shares the parameters and buffers of `norm`."""
        layer = cls(
            norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats
        )
        layer.weight, layer.bias = norm.weight, norm.bias
        for name, buffer in norm.named_buffers():
            setattr(layer, name, buffer)
        layer.splits = splits
        return layer.train(norm.training)

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"expected at least 2 dimensions, got {input.dim()}")

    def forward(self, input: Tensor) -> Tensor:
        """Return [B, C, ...] normalised; by the running statistics in evaluation.

        Raises:
            ValueError: If the batch does not divide into the parts.
        """
        if not self.training:
            return super().forward(input)
        if len(input) % self.splits:
            raise ValueError(f"{len(input)} samples do not divide into {self.splits} parts")
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        means = self.running_mean.repeat(self.splits, 1)  # [S, C]
        variances = self.running_var.repeat(self.splits, 1)
        parts = [
            functional.batch_norm(
                part, mean, variance, self.weight, self.bias, True, self.momentum, self.eps
            )
            for part, mean, variance in zip(input.chunk(self.splits), means, variances, strict=True)
        ]
        self.running_mean.copy_(means.mean(dim=0))
        self.running_var.copy_(variances.mean(dim=0))
        self.num_batches_tracked.add_(1)
        return torch.cat(parts)


class NormBranch(nn.Module):
    """Statistics and affine weights for one BatchNorm, which start as copies of its own.

    Args:
        norm: The layer.
        momentum: Of the running statistics; None for the layer's.
    """

    def __init__(self, norm: _BatchNorm, momentum: float | None = None) -> None:
        super().__init__()
        self.momentum = norm.momentum if momentum is None else momentum
        for name, weight in norm.named_parameters(recurse=False):
            self.register_parameter(name, nn.Parameter(weight.detach().clone()))
        for name, buffer in norm.named_buffers(recurse=False):
            self.register_buffer(name, buffer.clone())

    def swap(self, norm: _BatchNorm) -> None:
        """Exchange statistics, weights and momentum with a layer; a second call undoes it.

        The layer stays what it is, be it split, synchronised or timm's with an activation.
        """
        norm._parameters, self._parameters = self._parameters, norm._parameters
        norm._buffers, self._buffers = self._buffers, norm._buffers
        norm.momentum, self.momentum = self.momentum, norm.momentum


class AuxiliaryNorms(nn.Module):
    """Auxiliary branches of every BatchNorm of a network, kept apart from it (AdvProp).

    Xie et al. 2020, arXiv:1911.09665: images of another kind, such as adversarial ones, have
    statistics and affine weights of their own, and share all other weights. The network's own
    modules, names and state stay those of the plain network.

    Args:
        network: Any network with BatchNorms.
        branches: Their number; fine-grained AdvProp has several.
        momentum: Of the branches' running statistics; None for that of each layer.

    Raises:
        ValueError: If the network has no BatchNorm.
    """

    def __init__(
        self, network: nn.Module, branches: int = 1, momentum: float | None = None
    ) -> None:
        super().__init__()
        norms = _norms(network)
        if not norms:
            raise ValueError("the network has no BatchNorm")
        self.branches = nn.ModuleList(
            nn.ModuleList(NormBranch(norm, momentum) for norm in norms) for _ in range(branches)
        )

    @contextmanager
    def on(self, network: nn.Module, branch: int = 0) -> Iterator[None]:
        """Let a network's BatchNorms use a branch, in training and in evaluation, inside a block.

        Args:
            network: The one that the branches were made for, or a copy; its BatchNorms may have
                been split or synchronised since.
            branch: Number of the branch.
        """
        states = self.branches[branch]
        assert isinstance(states, nn.ModuleList)
        pairs = list(zip(states, _norms(network), strict=True))
        _swap(pairs)
        try:
            yield
        finally:
            _swap(pairs)


@torch.compiler.disable
def _swap(pairs: list[tuple[nn.Module, _BatchNorm]]) -> None:
    """Exchange all branches with their layers, between compiled pieces of code."""
    for branch, norm in pairs:
        assert isinstance(branch, NormBranch)
        branch.swap(norm)


def _norms(network: nn.Module) -> list[_BatchNorm]:
    return [module for module in network.modules() if isinstance(module, _BatchNorm)]


class DualBatchNorm(nn.Module):
    """A network with auxiliary branches beside it; see `dual_batch_norm`."""

    def __init__(self, network: nn.Module, norms: AuxiliaryNorms) -> None:
        super().__init__()
        self.network, self.auxiliary = network, norms

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return the network's output, by the branch that is on."""
        output: Tensor = self.network(*inputs)
        return output


def dual_batch_norm(
    module: nn.Module, branches: int = 1, momentum: float | None = None
) -> DualBatchNorm:
    """Give every BatchNorm of a network auxiliary branches; arguments as `AuxiliaryNorms`.

    Args:
        module: The network, which is part of what is returned.
        branches: Number of auxiliary branches.
        momentum: Of their running statistics; None for that of each layer.

    Returns:
        A module that calls the network; `auxiliary` switches it over.

    Raises:
        ValueError: If the network has no BatchNorm.
    """
    return DualBatchNorm(module, AuxiliaryNorms(module, branches, momentum))


@contextmanager
def auxiliary(module: nn.Module, branch: int = 0) -> Iterator[None]:
    """Use an auxiliary branch inside a block, the main one outside.

    Args:
        module: Made by `dual_batch_norm`, or a network with such parts.
        branch: Number of the branch.

    Raises:
        ValueError: If no part has auxiliary branches.
    """
    duals = [part for part in module.modules() if isinstance(part, DualBatchNorm)]
    if not duals:
        raise ValueError("the network has no auxiliary branches: see dual_batch_norm")
    with ExitStack() as stack:
        for dual in duals:
            stack.enter_context(dual.auxiliary.on(dual.network, branch))
        yield


def without_auxiliary(module: nn.Module) -> nn.Module:
    """Return the plain network: its state has no tensor of a branch, its outputs stay the same."""
    if isinstance(module, DualBatchNorm):
        return module.network
    for name, child in list(module.named_children()):
        setattr(module, name, without_auxiliary(child))
    return module
