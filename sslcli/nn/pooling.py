"""Make one vector of a sentence out of the hidden states of its tokens."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

STATES = {  # the hidden states whose mean each kind pools; 0 is the output of the embeddings
    "cls": (-1,),
    "avg": (-1,),
    "avg_top2": (-1, -2),
    "avg_first_last": (1, -1),
    "avg_emb_last": (0, -1),
}


def pool(
    hidden_states: Sequence[Float[Tensor, "batch length dim"]],
    mask: Bool[Tensor, "batch length"],
    kind: str,
) -> Float[Tensor, "batch dim"]:
    """Return a vector a sentence, without a head.

    Means are over the real tokens, [CLS] and [SEP] among them. `avg_first_last` takes the first
    layer's output, as SimCSE's code does since 2023; `avg_emb_last` the embeddings', as the "first-
    last avg." of the papers' tables does.

    Args:
        hidden_states: Output of the embeddings, then of each layer, shape [B, L, H] each.
        mask: Whether a place holds a token, shape [B, L]. A row without any gives zeros.
        kind: "cls", "avg", "avg_top2", "avg_first_last" or "avg_emb_last".

    Returns:
        Vectors, shape [B, H].

    Raises:
        ValueError: If there is no such kind.
    """
    if kind not in STATES:
        raise ValueError(f"the kinds of pooling are {', '.join(STATES)}, not {kind!r}")
    if kind == "cls":
        return hidden_states[-1][:, 0]
    states = torch.stack([hidden_states[number] for number in STATES[kind]]).mean(dim=0)
    states = states.to(torch.promote_types(states.dtype, torch.float32))  # sums of many
    kept = mask[..., None].to(states)  # [B, L, 1]
    return (states * kept).sum(dim=1) / kept.sum(dim=1).clamp(min=1)
