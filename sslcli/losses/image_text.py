"""Losses of images and the texts that belong to them.

Raw embeddings go in; they are normalised here, in float32 at least. Each of many processes passes
its own samples, and beside them those of all, gathered with their gradient
(`distributed.collective.gather_with_gradient`); the mean over processes is then the loss of the
whole batch, and so are the averaged gradients.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from sslcli.losses.precision import at_least_float32, inner_products


def clip(
    image: Float[Tensor, "batch dim"],
    text: Float[Tensor, "batch dim"],
    scale: float | Float[Tensor, ""],
    first: int = 0,
    among: tuple[Float[Tensor, "all dim"], Float[Tensor, "all dim"]] | None = None,
) -> Float[Tensor, ""]:
    """Tell each image's text from all others, and each text's image (Radford et al. 2021, fig. 3).

    arXiv:2103.00020. The mean of both directions. For many processes each passes its own samples,
    and as `among` those of all, gathered with their gradient; the mean over processes is then the
    loss of the whole batch, and so are the averaged gradients, that of `scale` included.

    Args:
        image: Raw embeddings, shape [B, D].
        text: Raw embeddings of their texts, in the same order, shape [B, D].
        scale: What cosines are multiplied by, the inverse of a temperature; a scalar tensor gets
            its gradient.
        first: Where these samples begin among all: rank * B.
        among: Images and texts of all processes, [W * B, D] each; None for `image` and `text`.

    Returns:
        Scalar in nats; ln(W * B) when all similarities are equal.

    Raises:
        ValueError: If `scale` is a number and not positive.
    """
    _check(scale)
    image, text, *others = (
        functional.normalize(at_least_float32(each), dim=1)
        for each in (image, text, *(among or ()))
    )
    images, texts = others or (image, text)
    forth = inner_products(scale * image, texts)  # [B, W * B]
    back = inner_products(scale * text, images) if among else forth.T
    own = torch.arange(first, first + len(image), device=image.device)
    return (functional.cross_entropy(forth, own) + functional.cross_entropy(back, own)) / 2


def siglip(
    image: Float[Tensor, "batch dim"],
    text: Float[Tensor, "batch dim"],
    scale: float | Float[Tensor, ""],
    bias: float | Float[Tensor, ""],
    first: int = 0,
    among: Float[Tensor, "all dim"] | None = None,
) -> Float[Tensor, ""]:
    """Say of each image and each text whether they are a pair (Zhai et al. 2023, algorithm 1).

    arXiv:2303.15343. The mean over images i of the sum over texts j of
    -ln sigmoid(z_ij (scale cos_ij + bias)), where z_ij is 1 for a pair and -1 otherwise. No row
    is normalised by the others, as a softmax would do.

    Args:
        image: Raw embeddings, shape [B, D].
        text: Raw embeddings of their texts, in the same order, shape [B, D].
        scale: What cosines are multiplied by; the paper starts at 10. A scalar tensor gets its
            gradient, and so does `bias`.
        bias: What is added; the paper starts at -10, since nearly all pairs are wrong ones.
        first: Where these samples begin among all: rank * B.
        among: Texts of all processes, [W * B, D]; None for `text`.

    Returns:
        Scalar in nats; W * B ln 2 when all logits are 0.

    Raises:
        ValueError: If `scale` is a number and not positive.
    """
    _check(scale)
    image, texts = (
        functional.normalize(at_least_float32(each), dim=1)
        for each in (image, text if among is None else among)
    )
    logits = inner_products(scale * image, texts) + bias  # [B, W * B]
    losses = functional.softplus(logits)  # -ln sigmoid(-logit)
    own = logits.diagonal(first)  # and softplus(-x) = softplus(x) - x
    return (losses.sum() - own.sum()) / len(image)


def _check(scale: float | Tensor) -> None:
    if not isinstance(scale, Tensor) and not scale > 0:  # a tensor's value stays on its device
        raise ValueError(f"the scale must be positive, got {scale}")
