"""Scores of distances between features: Mahalanobis, relative Mahalanobis and nearest neighbours.

None needs a classifier, and the neighbours need no labels, so these three work on self-supervised
encoders.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sslcli.errors import UsageError
from sslcli.evaluate.nearest import Index

_FLOOR = 1e-6  # least variance of any direction, as a share of the largest
_BLOCK = 4096  # queries at a time: bounds the memory of their neighbours


@dataclass(frozen=True)
class Gaussians:
    """Class means with one covariance, in coordinates where that covariance is the identity.

    Attributes:
        whiten: Maps features to these coordinates, [D, D] float64.
        means: Class means there, [C, D] float64.
    """

    whiten: Float[Tensor, "dim dim"]
    means: Float[Tensor, "classes dim"]

    def distances(self, features: Float[Tensor, "n dim"]) -> Float[Tensor, "n classes"]:
        """Return the squared Mahalanobis distance to each class mean, in float64."""
        return torch.cdist(features.double() @ self.whiten, self.means).square()


def fit_gaussians(features: Float[Tensor, "n dim"], labels: Int[Tensor, " n"] | None) -> Gaussians:
    """Fit class means and the pooled within-class covariance, divided by N.

    Directions in which the training features hardly vary, such as those of dead units, get a
    millionth of the largest variance: distances along them are finite, but large. With fewer
    samples than dimensions that holds for most directions.

    Args:
        features: Of the training images.
        labels: Their classes, of which those that occur get a mean; None fits one Gaussian.

    Raises:
        UsageError: If there is no variance, as with one image a class.
    """
    double = features.double()
    if labels is None:
        labels = torch.zeros(len(features), dtype=torch.int64)
    present, index = labels.unique(return_inverse=True)
    sums = double.new_zeros(len(present), double.shape[1]).index_add_(0, index, double)
    means = sums / index.bincount()[:, None]
    within = double - means[index]
    variance, axes = torch.linalg.eigh(within.T @ within / len(double))
    if not variance[-1] > 0:
        hint = "give more training images of each class"
        raise UsageError("the training features do not vary within a class", "score", hint)
    whiten = axes / variance.clamp(min=_FLOOR * variance[-1]).sqrt()  # [D, D]
    return Gaussians(whiten, means @ whiten)


def mahalanobis(features: Float[Tensor, "n dim"], classes: Gaussians) -> Float[Tensor, " n"]:
    """Return minus the squared distance to the nearest class (Lee et al. 2018, arXiv:1807.03888).

    On the penultimate layer alone and without the paper's input noise, as OpenOOD has it.
    """
    return -classes.distances(features).amin(dim=1)


def relative_mahalanobis(
    features: Float[Tensor, "n dim"], classes: Gaussians, whole: Gaussians
) -> Float[Tensor, " n"]:
    """Return the same less that of one Gaussian of all data (Ren et al. 2021, arXiv:2106.09022)."""
    return mahalanobis(features, classes) - mahalanobis(features, whole)


def neighbour(features: Float[Tensor, "n dim"], index: Index, k: int) -> Float[Tensor, " n"]:
    """Return minus the distance to the k-th nearest training image (Sun et al. 2022, 2204.06507).

    Features are L2-normalised on both sides, so the distance is sqrt(2 - 2 cosine).

    Args:
        features: To be scored.
        index: Training features; none of them may be among `features`, each of which would be its
            own neighbour.
        k: Which neighbour counts.
    """
    blocks = [index.search(part, k)[0][:, -1] for part in features.split(_BLOCK)]
    return -(2 - 2 * torch.cat(blocks).double()).clamp(min=0).sqrt()
