"""Fit a scale and a shift for each class's logit, by Newton's method in float64."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from sslcli.errors import UsageError
from sslcli.evaluate.calibration.temperature import check_logits

_ITERATIONS, _TOLERANCE = 60, 1e-9


def fit_vector(
    logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]
) -> tuple[Float[Tensor, " classes"], Float[Tensor, " classes"]]:
    """Return the scale and shift for which softmax(scale * logits + shift) is the most likely.

    Guo et al. 2017 (arXiv:1706.04599), section 4.2. The loss is convex. It has a minimum only if no
    choice of the 2 C numbers separates the classes perfectly. Without a minimum Newton's steps
    never get short, which is how it is noticed. The shifts sum to 0, since a number added to all
    changes nothing.

    Args:
        logits: Any floating type; computed in float64.
        labels: Class of each row, of samples that the classifier was not trained on.

    Returns:
        Scale and shift, float64.

    Raises:
        UsageError: If a class has no sample, or the loss no single smallest value.
        ValueError: If a logit is not finite, a label no class, or there is no sample.
    """
    check_logits(logits, labels)
    scores, classes = logits.double(), logits.shape[1]
    absent = (labels.bincount(minlength=classes) == 0).nonzero()[:, 0].tolist()
    if absent:
        named = f"{len(absent)} of the {classes} classes have no fitting image"
        raise _unbounded(f"{named}, so their shifts would fall for ever")
    spread = scores.std().clamp(min=1e-12)
    scaled = scores / spread  # so that scale and shift count in the same units
    found = torch.cat([spread.expand(classes), spread.new_zeros(classes)])  # softmax(logits)
    for _ in range(_ITERATIONS):
        step = _newton_step(scaled, labels, found)
        found = found + _shortened(scaled, labels, found, step) * step
        if not bool(found.isfinite().all()):
            break
        if float(step.abs().max()) <= _TOLERANCE * max(1.0, float(found.abs().max())):
            return found[:classes] / spread, found[classes:]
    raise _unbounded(f"{len(labels)} images do not determine {2 * classes} numbers")


def _loss(scores: Tensor, labels: Tensor, found: Tensor) -> Tensor:
    scale, shift = found.chunk(2)
    return functional.cross_entropy(scale * scores + shift, labels)


def _newton_step(scores: Tensor, labels: Tensor, found: Tensor) -> Tensor:
    """Return the step [2 C] to the minimum of the quadratic approximation of the loss."""
    classes, count = scores.shape[1], len(scores)
    scale, shift = found.chunk(2)
    share = (scale * scores + shift).softmax(dim=1)  # [N, C]
    excess = share - functional.one_hot(labels, classes)
    gradient = torch.cat([(excess * scores).mean(dim=0), excess.mean(dim=0)])
    weighted = share * scores
    both = torch.cat([weighted, share], dim=1)  # [N, 2 C]
    squares = torch.cat([(weighted * scores).mean(dim=0), share.mean(dim=0)])
    hessian = torch.diag(squares) - both.T @ both / count
    across = torch.diag(weighted.mean(dim=0))
    hessian[:classes, classes:] += across
    hessian[classes:, :classes] += across
    hessian[classes:, classes:] += 1 / classes  # fixes the free sum of the shifts at 0
    step, fault = torch.linalg.solve_ex(hessian, -gradient)
    return step if int(fault) == 0 else torch.full_like(step, torch.nan)


def _shortened(scores: Tensor, labels: Tensor, found: Tensor, step: Tensor) -> float:
    """Return the share of a step, halved until the loss does not rise."""
    before, share = _loss(scores, labels, found), 1.0
    while share > 1e-6 and not bool(_loss(scores, labels, found + share * step) <= before + 1e-15):
        share /= 2
    return share


def _unbounded(what: str) -> UsageError:
    hint = "fit on more images, or use `method` temperature, which is one number"
    return UsageError(what, "vector scaling", hint)
