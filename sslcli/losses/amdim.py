"""AMDIM's losses: predict local features of one view from the other, and clipped cross-entropy.

Bachman et al. 2019, arXiv:1906.00910, with the numbers and the order of the official code
(Philip-Bachman/amdim-public, costs.py). All in float32 at least. For many processes gather the
features of both views with their gradient (`distributed.collective.gather_with_gradient`), and say
where the own images stand among them: each process then has the loss of its own images as sources,
and averaged gradients equal those of one process that has all.
"""

import math
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from sslcli.losses.local_contrast import Contrast, clipped, contrast
from sslcli.losses.precision import at_least_float32

Scales = tuple[Tensor, Tensor, Tensor]  # r1 [N, R], r5 [N, R, 5, 5], r7 [N, R, 7, 7]
TERMS = ("1->5", "1->7", "5->5")


def local_nce(
    source: Float[Tensor, "batch dim"],
    target: Float[Tensor, "total dim height width"],
    clip: float = 20.0,
    penalty: float = 0.05,
    start: int = 0,
) -> Float[Tensor, ""]:
    """Tell each local feature of a source's image from all local features of other images.

    One positive at a time: the other places of the own image are neither positive nor negative. A
    score is r_source . r_target / sqrt(R). The penalty is taken before the clip, over all scores,
    those of the own image included.

    Args:
        source: One raw vector an image, shape [B, R].
        target: Raw features of the other view, shape [N, R, H, W].
        clip: c of c tanh(score / c), which keeps scores below c either way; 0 for none.
        penalty: Weight of the mean square score.
        start: Index of the first source's image among the targets; N exceeds B where sources are
            one process's and targets all processes'.

    Returns:
        Scalar in nats: the mean over images and places, plus the penalty.

    Raises:
        ValueError: If there is no other image.
    """
    own = torch.arange(start, start + len(source), device=source.device)
    scaled = at_least_float32(source) / math.sqrt(source.shape[1])
    return contrast(scaled, places(target), own, target[0, 0].numel(), clip, penalty).loss


def amdim(
    first: Scales,
    second: Scales,
    picks: tuple[Int[Tensor, " batch"], Int[Tensor, " batch"]],
    clip: float = 20.0,
    penalty: float = 0.05,
    terms: Sequence[str] = TERMS,
    start: int = 0,
) -> Float[Tensor, ""]:
    """Return half the sum of `local_nce` over terms, each from either view to the other.

    Args:
        first: r1, r5 and r7 of the first view: [N, R], [N, R, 5, 5], [N, R, 7, 7].
        second: The same of the second view.
        picks: For each view the place of each image's 5->5 source, row by row, 0 to 24, [B] each.
            N exceeds B where only one process's images are sources.
        clip: As in `local_nce`.
        penalty: As in `local_nce`.
        terms: "1->5", "1->7" and "5->5", source and target by the side of their maps; "1->1", of
            global features alone, is this project's, for the ablation.
        start: Index of the first of the B images among the N.

    Returns:
        Scalar in nats.
    """
    return amdim_contrast(first, second, picks, clip, penalty, terms, start).loss


def amdim_contrast(
    first: Scales,
    second: Scales,
    picks: tuple[Tensor, Tensor],
    clip: float,
    penalty: float,
    terms: Sequence[str] = TERMS,
    start: int = 0,
) -> Contrast:
    """Return the loss of `amdim`, and what the first term finds of the second view.

    That is how often a place of the own image scores above all of others, by source, [B].
    """
    own = torch.arange(start, start + len(picks[0]), device=picks[0].device)
    a, b = _rows_by_side(first), _rows_by_side(second)
    losses, found = [], []
    for from_view, to_view, pick in ((a, b, picks[0]), (b, a, picks[1])):
        for side in dict.fromkeys(term[-1] for term in terms):  # sources of one target go together
            chosen = [_source(term, from_view, own, pick) for term in terms if term[-1] == side]
            whole, rows = torch.cat(chosen) / math.sqrt(first[0].shape[1]), own.repeat(len(chosen))
            one = contrast(whole, to_view[side], rows, int(side) ** 2, clip, penalty)
            losses.append(len(chosen) * one.loss)
            found.append(one.found)
    return Contrast(torch.stack(losses).sum() / 2, found[0][: len(own)])


def amdim_chance(images: int, terms: Sequence[str] = TERMS) -> float:
    """Return the loss at equal scores of 0: ln(1 + (N - 1) L) for each term's L places."""
    places = [int(term[-1]) ** 2 for term in terms]
    return sum(math.log1p((images - 1) * count) for count in places)


def places(maps: Float[Tensor, "total dim height width"]) -> Float[Tensor, "rows dim"]:
    """Return the features of every place of every image as rows, in float32 at least."""
    return at_least_float32(maps.flatten(2).permute(0, 2, 1).reshape(-1, maps.shape[1]))


def _rows_by_side(scales: Scales) -> dict[str, Tensor]:
    """Return the places of a view's maps by their side; the global feature is a map of one."""
    r1, r5, r7 = scales
    return {"1": at_least_float32(r1), "5": places(r5), "7": places(r7)}


def _source(term: str, rows: Mapping[str, Tensor], own: Tensor, pick: Tensor) -> Tensor:
    """Return the vectors that a term predicts from, [B, R]."""
    return rows["1"][own] if term[0] == "1" else rows["5"][own * 25 + pick]


def clipped_cross_entropy(
    logits: Float[Tensor, "batch classes"],
    labels: Int[Tensor, " batch"],
    clip: float,
    penalty: float,
    known: Float[Tensor, ""] | None = None,
) -> Float[Tensor, ""]:
    """Return the mean cross-entropy of clipped logits plus a penalty on their mean square.

    What AMDIM's classifiers learn by (`loss_xent` of the code, whose c is 10 and penalty 0.001).

    Args:
        logits: Shape [B, C].
        labels: Shape [B]; -1 of a sample without a label, which only the penalty counts.
        clip: c of c tanh(logit / c).
        penalty: Weight of the mean square of logits, before the clip.
        known: What the sum over labelled samples is divided by, such as their mean number over
            processes; None for their number here.

    Returns:
        Scalar in nats.
    """
    logits = at_least_float32(logits)
    total = functional.cross_entropy(
        clipped(logits, clip), labels, ignore_index=-1, reduction="sum"
    )
    count = (labels >= 0).sum().to(logits.dtype) if known is None else known
    return total / count.where(count > 0, 1.0) + penalty * logits.square().mean()
