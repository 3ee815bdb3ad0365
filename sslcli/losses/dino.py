"""The loss of DINO and the probabilities of its teacher (Caron et al. 2021, arXiv:2104.14294)."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from sslcli.losses.precision import at_least_float32


def dino(
    student: Sequence[Float[Tensor, "batch prototypes"]],
    teacher: Sequence[Float[Tensor, "batch prototypes"]],
    center: Float[Tensor, " prototypes"],
    student_temperature: float,
    teacher_temperature: float,
) -> Float[Tensor, ""]:
    """Match the student on each view with the teacher on other views (section 3.1, eq. 3).

    The cross-entropy is averaged over all pairs of a teacher's and a student's view; the same place
    in both lists is the same view, and is no pair.

    Args:
        student: Logits of all views, each [B, K].
        teacher: Logits of the first views; no gradient flows back to them.
        center: Subtracted from the teacher's logits, [K]. The paper's text adds it, with the
            opposite sign.
        student_temperature: What the student's logits are divided by, above 0.
        teacher_temperature: The teacher's; a lower one sharpens.

    Returns:
        Scalar in nats, float32 at least; ln K when the student is uniform.

    Raises:
        ValueError: If a temperature is not positive or there is no pair.
    """
    if not student_temperature > 0:
        raise ValueError(f"the temperature must be positive, got {student_temperature}")
    targets = [teacher_probabilities(logits, center, teacher_temperature) for logits in teacher]
    log_shares = [
        (at_least_float32(logits) / student_temperature).log_softmax(dim=1) for logits in student
    ]
    terms = [
        -(target * log_share).sum(dim=1).mean()
        for place, target in enumerate(targets)
        for other, log_share in enumerate(log_shares)
        if other != place
    ]
    if not terms:
        raise ValueError("there is no pair of different views")
    return sum(terms[1:], terms[0]) / len(terms)


def teacher_probabilities(
    logits: Float[Tensor, "batch prototypes"],
    center: Float[Tensor, " prototypes"],
    temperature: float,
) -> Float[Tensor, "batch prototypes"]:
    """Return the teacher's centred and sharpened distributions, detached (section 3.1).

    Args:
        logits: Raw, [B, K].
        center: Subtracted from them, [K].
        temperature: What they are divided by then, above 0.

    Raises:
        ValueError: If `temperature` is not positive.
    """
    if not temperature > 0:
        raise ValueError(f"the temperature must be positive, got {temperature}")
    return ((at_least_float32(logits.detach()) - center) / temperature).softmax(dim=1)
