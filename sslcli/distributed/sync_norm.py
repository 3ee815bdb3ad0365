"""BatchNorm over the samples of all processes, also on the CPU, where torch has none."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from sslcli.distributed.collective import total, world_size


def synchronize(module: nn.Module, device: torch.device) -> nn.Module:
    """Return a module whose BatchNorms take their statistics over all processes.

    Parameters, buffers and their names stay what they are. On CUDA the layers become
    `torch.nn.SyncBatchNorm`, elsewhere `SyncBatchNorm` of this module; with one process nothing
    changes.
    """
    if world_size() == 1:
        return module
    if device.type == "cuda":
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(module)
        return converted
    for name, child in list(module.named_children()):
        setattr(module, name, synchronize(child, device))
    return SyncBatchNorm.of(module) if isinstance(module, _BatchNorm) else module


class SyncBatchNorm(_BatchNorm):
    """Normalise by mean and variance over the batches of all processes.

    For the CPU. Batches may differ in size. Forward and backward send one message each, of two
    numbers a channel; statistics are joined in float64, the arithmetic of the samples is torch's.
    """

    @classmethod
    def of(cls, norm: _BatchNorm) -> "SyncBatchNorm":
        """Return a layer that shares the parameters and buffers of `norm`."""
        layer = cls(
            norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats
        )
        layer.weight, layer.bias = norm.weight, norm.bias
        for name, buffer in norm.named_buffers():
            setattr(layer, name, buffer)
        return layer.train(norm.training)

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"expected at least 2 dimensions, got {input.dim()}")

    def forward(self, input: Tensor) -> Tensor:
        """Return [B, C, ...] normalised; by the running statistics in evaluation."""
        if not self.training and self.track_running_stats:
            return super().forward(input)
        self._check_input_dim(input)
        output: Tensor = _Normalize.apply(input, self.weight, self.bias, self)
        return output

    def track(self, mean: np.ndarray, var: np.ndarray, count: float) -> None:
        """Move the running statistics towards those of a batch, each [C]."""
        if not self.training or not self.track_running_stats:
            return
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = self.momentum if self.momentum is not None else 1 / float(self.num_batches_tracked)
        unbiased = var * (count / (count - 1))
        for running, value in ((self.running_mean, mean), (self.running_var, unbiased)):
            kept = running.numpy()
            kept += share * (value - kept)


class _Normalize(torch.autograd.Function):
    """Compute vectors with one number a channel in NumPy, which is much faster on them."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, layer: SyncBatchNorm
    ) -> Tensor:
        channels, kind = x.shape[1], torch.promote_types(x.dtype, torch.float32)
        scratch = torch.zeros(2, channels, dtype=kind)  # its type decides the statistics'
        found = torch.batch_norm_update_stats(x, scratch[0], scratch[1], 0.0)
        local_mean, local_var = (each.numpy().astype(np.float64) for each in found)
        local = np.ones(2 * channels + 1)
        local[:channels], local[channels:-1] = local_mean, local_var + local_mean**2
        local *= x.numel() / channels
        sums = total(torch.from_numpy(local)).numpy()
        ctx.count = sums[-1]
        mean, square = (sums[:-1] / ctx.count).reshape(2, channels)
        var = np.maximum(square - mean**2, 0)
        layer.track(mean, var, ctx.count)
        mean, var = torch.from_numpy(np.stack([mean, var])).to(kind)
        ctx.save_for_backward(x, weight, mean, var)
        ctx.eps = layer.eps
        return torch.native_batch_norm(x, weight, bias, mean, var, False, 0.0, layer.eps)[0]

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None, None]:
        x, weight, mean, var = ctx.saved_tensors
        dx, dweight, dbias = torch.ops.aten.native_batch_norm_backward(
            dy, x, weight, mean, var, None, None, False, ctx.eps, [True, True, True]
        )
        # dx so far treats the statistics as constants; their own gradient is linear in x.
        local = np.concatenate([dweight.numpy(), dbias.numpy()], dtype=np.float64)
        sums = total(torch.from_numpy(local)).numpy() / ctx.count
        along_x, along_1 = sums.reshape(2, -1)
        inverse = 1 / np.sqrt(var.numpy().astype(np.float64) + ctx.eps)
        scale = inverse if weight is None else inverse * weight.detach().numpy()
        slope = scale * along_x * inverse
        offset = scale * along_1 - slope * mean.numpy()
        slope, offset = torch.from_numpy(np.stack([slope, offset])).to(mean.dtype)
        zero, one = torch.zeros_like(mean), torch.ones_like(mean)
        dx -= torch.native_batch_norm(x, slope, offset, zero, one, False, 0.0, 0.0)[0]
        return dx, *((dweight, dbias) if weight is not None else (None, None)), None
