"""DirectCopy: the predictor is the correlation of its inputs.

Wang, Chen, Du & Tian 2021, arXiv:2110.04947. It needs no eigendecomposition, unlike DirectPred, and
so no wait on CUDA, unless the norm is the spectral one. Its traps are those of
`methods.linear_predictor`; the text does not say which norm it means, so the norm is a field.
"""

from functools import partial

import torch
from torch import Tensor

from sslcli.config.methods.siamese import DirectCopyConfig
from sslcli.methods.linear_predictor import LinearPredictor

NORMS = {
    "frobenius": partial(torch.linalg.vector_norm, dim=(-2, -1), keepdim=True),
    "spectral": partial(torch.linalg.matrix_norm, ord=2, keepdim=True),
}


class DirectCopy(LinearPredictor):
    """Set the predictor to W = F / |F| + eps I.

    It is DirectSet(alpha), W = F^alpha + eps I, at alpha = 1; DirectPred is DirectSet at alpha =
    1/2. In the paper's theory weight decay acts as a threshold: features that vary much under
    augmentation are lost.

    Args:
        config: Heads, correlation, norm and target.
        encoder: Maps images to [B, encoder.feature_dim].
    """

    config: DirectCopyConfig

    def solve(self, correlation: Tensor) -> Tensor:
        """Return W of each correlation, [K, D, D]."""
        return predictor(correlation, self.config.epsilon, self.config.norm)


def predictor(correlation: Tensor, epsilon: float, norm: str) -> Tensor:
    """Return W = F / |F| + eps I.

    Args:
        correlation: F, [..., D, D].
        epsilon: Floor of the eigenvalues.
        norm: "frobenius" or "spectral".

    Returns:
        [..., D, D]; it commutes with F, and is eps I where F is zero.
    """
    size = NORMS[norm](correlation)
    scaled = correlation / size.clamp(min=torch.finfo(correlation.dtype).tiny)
    return scaled + epsilon * torch.eye(correlation.shape[-1]).to(correlation)
