"""The loss that attacks raise: its gradient is exact however confident the classifier is."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional


def odds_against(
    logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    """Return ln((1 - p) / p), p the softmax of the label, in nats and float64.

    It rises with the cross-entropy. Its gradient is that of the cross-entropy divided by 1 - p: the
    softmax over the other classes minus the one-hot. Signs and directions are therefore the same.
    Where p rounds to 1, the gradient of the cross-entropy is 0, and this one is still exact.

    Args:
        logits: Of at least two classes.
        labels: The class of each image.
    """
    logits = logits.double()
    is_own = functional.one_hot(labels, logits.shape[1]).bool()
    others = logits.masked_fill(is_own, -torch.inf).logsumexp(dim=1)
    return others - logits.masked_fill(~is_own, 0).sum(dim=1)
