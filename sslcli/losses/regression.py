"""Losses that pull a prediction towards a target, without negatives.

None of them detaches its target: the stop-gradient belongs to the method, which can leave it out
(Chen & He 2021, section 4.1).
"""

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from sslcli.losses.precision import at_least_float32


def negative_cosine(
    prediction: Float[Tensor, "batch dim"], target: Float[Tensor, "batch dim"]
) -> Float[Tensor, ""]:
    """Return the mean of minus the cosine (Chen & He 2021, arXiv:2011.10566, eq. 1).

    Args:
        prediction: Raw predictions p, shape [B, D].
        target: Raw projections z, shape [B, D]; detach them for the stop-gradient.

    Returns:
        Scalar from -1, all aligned, to 1; float32 at least.
    """
    prediction, target = at_least_float32(prediction), at_least_float32(target)
    return -functional.cosine_similarity(prediction, target, dim=1).mean()


def byol(
    prediction: Float[Tensor, "batch dim"], target: Float[Tensor, "batch dim"]
) -> Float[Tensor, ""]:
    """Return the squared distance of unit vectors (Grill et al. 2020, arXiv:2006.07733, eq. 2).

    One direction, 2 - 2 cos, averaged over the batch; the paper adds both directions.

    Args:
        prediction: Raw predictions of the online network, shape [B, D].
        target: Raw projections of the target network, shape [B, D], without gradient.

    Returns:
        Scalar from 0 to 4; float32 at least.
    """
    return 2 + 2 * negative_cosine(prediction, target)


def softmax_cross_entropy(
    prediction: Float[Tensor, "batch dim"], target: Float[Tensor, "batch dim"]
) -> Float[Tensor, ""]:
    """Return the cross-entropy of softmaxes over channels (Chen & He 2021, section 4.5).

    Args:
        prediction: Raw predictions p, shape [B, D].
        target: Raw projections z, shape [B, D]; detach them for the stop-gradient.

    Returns:
        Scalar mean of -softmax(z) . log softmax(p) in nats, from 0; float32 at least.
    """
    share = at_least_float32(target).softmax(dim=1)
    return -(share * at_least_float32(prediction).log_softmax(dim=1)).sum(dim=1).mean()
