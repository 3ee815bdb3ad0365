"""BatchNorm over the samples of all processes, on the CPU too, where torch has none."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from sslcli.engine.collective import total, world_size


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

    Batches may differ in size. Forward and backward send one message each, of two numbers a
    channel; statistics are joined in float64, the arithmetic of the samples is torch's own.
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
        output: Tensor
        output, mean, var, count = _Normalize.apply(input, self.weight, self.bias, self.eps)
        if self.training and self.track_running_stats:
            self._track(mean, var, count)
        return output

    @torch.no_grad()
    def _track(self, mean: Tensor, var: Tensor, count: Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = self.momentum if self.momentum is not None else 1 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean.to(self.running_mean), share)
        unbiased = var * (count / (count - 1)).to(var)
        self.running_var.lerp_(unbiased.to(self.running_var), share)


class _Normalize(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        kind = torch.promote_types(x.dtype, torch.float32)
        scratch = torch.zeros(x.shape[1], dtype=kind)  # its type decides the statistics'
        local_mean, local_var = torch.batch_norm_update_stats(x, scratch, scratch.clone(), 0.0)
        local_mean, local_var = local_mean.double(), local_var.double()
        local = x.numel() / x.shape[1]
        sums = torch.cat([local_mean, local_var + local_mean**2, torch.ones(1).double()]) * local
        *moments, count = total(sums).split([x.shape[1], x.shape[1], 1])
        mean, square = (moment / count for moment in moments)
        mean, var = mean.to(kind), (square - mean**2).clamp(min=0).to(kind)
        y = torch.native_batch_norm(x, weight, bias, mean, var, False, 0.0, eps)[0]
        ctx.save_for_backward(x, weight, mean, var, count)
        ctx.eps = eps
        ctx.mark_non_differentiable(mean, var, count)
        return y, mean, var, count

    @staticmethod
    def backward(
        ctx: Any, dy: Tensor, *_: Any
    ) -> tuple[Tensor, Tensor | None, Tensor | None, None]:
        x, weight, mean, var, count = ctx.saved_tensors
        dx, dweight, dbias = torch.ops.aten.native_batch_norm_backward(
            dy, x, weight, mean, var, None, None, False, ctx.eps, [True, True, True]
        )
        # dx so far treats the statistics as constants; what flows through them is linear in x.
        sums = total(torch.cat([dweight, dbias]).double())
        along_x, along_1 = (sums / count).to(mean).chunk(2)
        inverse = torch.rsqrt(var + ctx.eps)
        scale = inverse if weight is None else inverse * weight
        slope = scale * along_x * inverse
        offset = scale * along_1 - slope * mean
        zero, one = torch.zeros_like(mean), torch.ones_like(mean)
        dx -= torch.native_batch_norm(x, slope, offset, zero, one, False, 0.0, 0.0)[0]
        return dx, *((dweight, dbias) if weight is not None else (None, None)), None
