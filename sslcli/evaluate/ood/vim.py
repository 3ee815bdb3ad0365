"""ViM: logits minus the norm of the features outside the training data's principal space.

Wang et al. 2022, "ViM: Out-of-distribution with virtual-logit matching", arXiv:2203.10807.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sslcli.errors import UsageError
from sslcli.evaluate.ood.logits import energy

_RANK = 1e-10  # of the largest eigenvalue; smaller ones are rounding of float32 features


@dataclass(frozen=True)
class VirtualLogit:
    """The fitted residual space.

    Attributes:
        origin: Features whose logits are all 0, -pinv(W) b, [D] float64.
        residual: Axes that the training features use least, [D, D - dim] float64.
        alpha: Brings residual norms to the size of the largest logit.
    """

    origin: Float[Tensor, " dim"]
    residual: Float[Tensor, "dim rest"]
    alpha: float

    def norms(self, features: Float[Tensor, "n dim"]) -> Float[Tensor, " n"]:
        """Return the length of the features' part in the residual space, in float64."""
        rest = (features.double() - self.origin) @ self.residual  # [N, D - dim]
        norms: Tensor = torch.linalg.vector_norm(rest, dim=1)
        return norms

    def score(
        self, features: Float[Tensor, "n dim"], logits: Float[Tensor, "n classes"]
    ) -> Float[Tensor, " n"]:
        """Return the energy of the logits minus alpha times the residual norm."""
        return energy(logits) - self.alpha * self.norms(features)


class PrincipalSpace:
    """Axes of E[(h - u)(h - u)'] by size; computed once for any dimension of the principal space.

    Args:
        features: Of the training images.
        classifier: Its origin u replaces the mean, as in the paper.
    """

    def __init__(self, features: Float[Tensor, "n dim"], classifier: nn.Linear) -> None:
        weight, bias = classifier.weight.double(), classifier.bias.double()
        self.origin = -torch.linalg.pinv(weight) @ bias
        away = features.double() - self.origin
        # Features after a ReLU are badly conditioned: float32 would lose the small eigenvalues.
        sizes, axes = torch.linalg.eigh(away.T @ away / len(away))
        self.axes = axes.flip(1)  # largest first
        self.rank = int((sizes > _RANK * sizes[-1]).sum())

    def fit(
        self, train: Float[Tensor, "n dim"], logits: Float[Tensor, "n classes"], dim: int
    ) -> VirtualLogit:
        """Return the virtual logit whose principal space has `dim` dimensions.

        Raises:
            UsageError: If nothing remains beyond them: alpha, a mean logit over a mean residual,
                would then be anything.
        """
        if not 1 <= dim < self.rank:
            raise UsageError(
                f"the training features span {self.rank} dimensions; {dim} of them leave no rest",
                where="`score` vim",
                hint="it applies where features have more dimensions than the data uses",
            )
        space = VirtualLogit(self.origin, self.axes[:, dim:], alpha=1.0)
        largest = logits.double().amax(dim=1).mean()
        alpha = float(largest / space.norms(train).mean())
        return VirtualLogit(space.origin, space.residual, alpha)
