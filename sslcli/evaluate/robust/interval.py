"""Intervals of accuracies, which cover the choice of test images and nothing else."""

import math

import numpy as np

LEVEL = 0.95
_WIDTH = 1.959963984540054  # quantile of the normal distribution that leaves 2.5 % above


def wilson(right: np.ndarray) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share, which stays in [0, 1] and is never empty.

    Args:
        right: Whether each image was classified rightly, [N] bool.
    """
    n, share = len(right), float(right.mean())
    squared = _WIDTH**2 / n
    centre = (share + squared / 2) / (1 + squared)
    reach = math.sqrt(share * (1 - share) / n + squared / (4 * n)) * _WIDTH / (1 + squared)
    return max(0.0, centre - reach), min(1.0, centre + reach)


def interval_of_means(right: np.ndarray) -> tuple[float, float]:
    """Return the normal 95 % interval of a mean accuracy over conditions on the same images.

    All conditions of one image count as one sample; as many samples, the interval would be far too
    narrow.

    Args:
        right: Whether each image was classified rightly under each condition, [conditions, N].
    """
    means = right.mean(axis=0)
    reach = _WIDTH * float(means.std()) / math.sqrt(len(means))
    share = float(means.mean())
    return max(0.0, share - reach), min(1.0, share + reach)
