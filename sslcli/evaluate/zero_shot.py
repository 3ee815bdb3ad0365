"""Classifiers made of sentences: one weight a class, out of the embeddings of its prompts."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


def class_weights(
    prompts: Float[Tensor, "classes prompts dim"],
) -> Float[Tensor, "classes dim"]:
    """Average the prompts of each class (Radford et al. 2021, arXiv:2103.00020, section 3.1.4).

    Each prompt counts alike: embeddings are normalised before the mean, and so is the mean.

    Args:
        prompts: Text embeddings of M prompts of each of C classes, shape [C, M, D].

    Returns:
        Unit vectors, shape [C, D], in float32 at least; an image's logits are its cosines with
        them, times a scale.
    """
    prompts = prompts.to(torch.promote_types(prompts.dtype, torch.float32))
    each = functional.normalize(prompts, dim=2)
    return functional.normalize(each.mean(dim=1), dim=1)
