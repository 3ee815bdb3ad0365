"""BatchNorm over parts of a batch, as if each part were on a device of its own."""

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm


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
