"""DirectPred: the predictor's eigenvalues follow from those of its inputs' correlation.

Tian, Chen & Ganguli 2021, arXiv:2102.06810. Traps beyond `methods.linear_predictor`: the paper's
epsilon multiplies max s and the code's sqrt(max s), so one epsilon means two floors. The paper's
floor outgrows sqrt(s) as features grow: the predictor approaches a multiple of the identity, which
does not prevent collapse. The scale of the whole predictor does not change a cosine. Eigenvalues
that rounding made negative are clipped. `eigh` works in float32 at least. On CUDA it waits for the
device; a larger `freq` makes that rarer.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from sslcli.config.methods.siamese import DirectPredConfig
from sslcli.distributed.collective import mean_row
from sslcli.methods.linear_predictor import LinearPredictor

# The code's bound from below on an eigenvalue of the predictor, where max s counts as 1.
_LEAST = 1e-4


class DirectPred(LinearPredictor):
    """Give the predictor W the eigenvectors of F and p_j = sqrt(s_j) + eps max s (eq. 18, 19).

    In the theory (section 3) training aligns the eigenvectors of W with those of F and keeps
    s_j - p_j^2 / alpha_p at a constant c_j, which the initial weights decide and weight decay
    forgets. The square root puts every c_j at 0 from the start; `constant` is for other values.

    With `partitions`, random directions w split the samples by the sign of w . f - mean(w . f), and
    each side has a correlation and a predictor of its own: W then depends on the features.

    Args:
        config: Heads, correlation, form of p_j and target.
        encoder: Maps images to [B, encoder.feature_dim].
    """

    config: DirectPredConfig
    directions: Tensor | None  # [D, n] unit vectors

    def __init__(self, config: DirectPredConfig, encoder: nn.Module) -> None:
        super().__init__(config, encoder, count=2 * config.partitions or 1)
        drawn = functional.normalize(torch.randn(config.dim, config.partitions), dim=0)
        self.register_buffer("directions", drawn if config.partitions else None)
        self.over_batch = ("the means that divide the samples",) if config.partitions else ()

    def solve(self, correlation: Tensor) -> Tensor:
        """Return W of each correlation, [K, D, D]."""
        config = self.config
        return predictor(correlation, config.epsilon, config.form, config.constant)

    def shares(self, features: Tensor) -> Tensor:
        """Return the side of each direction that each sample lies on, [B, 2n]; [B, 1] if n = 0."""
        if self.directions is None:
            return super().shares(features)
        along = features @ self.directions  # [B, n]
        above = (along >= mean_row(along)).to(features)
        return torch.cat([above, 1 - above], dim=1)


def paper_eigenvalues(s: Tensor, epsilon: float, constant: float) -> Tensor:
    """Return p_j = sqrt(s_j - c) + eps max s (eq. 19), [..., D]."""
    largest = s.amax(dim=-1, keepdim=True)
    return (s - constant * largest).clamp(min=0).sqrt() + epsilon * largest


def code_eigenvalues(s: Tensor, epsilon: float, constant: float) -> Tensor:
    """Return p_j = max(1e-4, sqrt(s_j / max s - c) + eps) of the official code, [..., D]."""
    share = s / s.amax(dim=-1, keepdim=True).clamp(min=torch.finfo(s.dtype).tiny)
    return ((share - constant).clamp(min=0).sqrt() + epsilon).clamp(min=_LEAST)


EIGENVALUES = {"paper": paper_eigenvalues, "code": code_eigenvalues}


def predictor(correlation: Tensor, epsilon: float, form: str, constant: float = 0.0) -> Tensor:
    """Return W = U diag(p) U^T, where F = U diag(s) U^T.

    Args:
        correlation: F, symmetric up to rounding, [..., D, D].
        epsilon: Floor of p_j, in units of max s ("paper") or, up to scale, sqrt(max s) ("code").
        form: "paper" or "code".
        constant: c above, as a share of max s.

    Returns:
        Symmetric, of no negative eigenvalue, [..., D, D]; it commutes with F.
    """
    s, directions = torch.linalg.eigh((correlation + correlation.mT) / 2)
    p = EIGENVALUES[form](s.clamp(min=0), epsilon, constant)
    return directions * p.unsqueeze(-2) @ directions.mT
