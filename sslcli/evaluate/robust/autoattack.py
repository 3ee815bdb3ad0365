"""AutoAttack (Croce & Hein 2020, arXiv:2003.01690), by its authors' package."""

import logging
from dataclasses import dataclass
from importlib.util import find_spec

import torch
from jaxtyping import Float
from torch import Tensor

from sslcli.errors import UsageError
from sslcli.evaluate.robust.defence import Defence
from sslcli.perturb.ball import Norm

PACKAGE, EXTRA = "pyautoattack", "attack"
_NORMS = {"linf": "Linf", "l2": "L2"}
_LEAST_CLASSES = 4  # the targeted loss compares with the fourth largest logit
QUERIES = 5_000  # of Square, the longest of its attacks, for an image that holds
MARGINS = (1.0, 15.0)  # largest margins at which float32 still has a gradient and resolves a step


def need_autoattack(classes: int) -> None:
    """Raise unless AutoAttack can run on a classifier of so many classes.

    Raises:
        UsageError: If the package is missing, or classes are too few.
    """
    if find_spec(PACKAGE) is None:
        what = f"AutoAttack needs the package {PACKAGE}, which is not installed"
        raise UsageError(what, "autoattack", f"pip install 'sslcli[{EXTRA}]'")
    if classes < _LEAST_CLASSES:
        what = f"AutoAttack's targeted attacks need {_LEAST_CLASSES} classes, there are {classes}"
        raise UsageError(what, "autoattack", "leave it out; PGD has no such limit")


@dataclass(frozen=True)
class AutoAttack:
    """The standard version: APGD-CE, targeted APGD and FAB, Square.

    Attributes:
        norm: "linf" or "l2".
        radius: In units of [0, 1].
        seed: Decides its random starts and squares.
    """

    norm: Norm
    radius: float
    seed: int

    def withstood(self, defence: Defence, images: Tensor, labels: Tensor) -> Tensor:
        """Return whether images are classified rightly after the attack, [B] bool.

        Its losses are float32, so logits are multiplied by one factor, which changes no decision;
        see `held_by_float32`.

        Args:
            defence: Not random: the standard version is not meant for that. Its network's
                parameters must not require gradients, which FAB would accumulate.
            images: In [0, 1], [B, 3, S, S].
            labels: [B].
        """
        from pyautoattack import AutoAttack as Standard  # noqa: PLC0415  an optional extra

        assert not defence.is_random
        right = ~defence.errs(images, labels)
        left = right.nonzero()[:, 0]
        if not len(left):
            return right
        logging.getLogger("auto-attack").setLevel(logging.ERROR)

        def logits(batch: Tensor) -> Tensor:
            return factor * defence.logits(defence.normalized(batch))

        factor = 1.0
        with torch.no_grad():
            factor = held_by_float32(logits(images[left]))
        attack = Standard(
            logits, norm=_NORMS[self.norm], eps=self.radius, seed=self.seed, device=images.device
        )
        targets = min(9, logits(images[:1]).shape[1] - 1)  # 9 is for ten classes or more
        attack.apgd_targeted.n_target_classes = attack.fab.n_target_classes = targets
        found, _ = attack.run_standard_evaluation(
            images[left].contiguous(), labels[left], batch_size=len(left)
        )
        right[left] = ~defence.errs(found, labels[left])
        return right


def held_by_float32(logits: Float[Tensor, "batch classes"]) -> float:
    """Return the factor that brings the largest margin of the batch into `MARGINS`.

    It is 1 where the margin lies there already. Above, the float32 softmax is one-hot and the
    cross-entropy has no gradient; below, rounding hides the gain of a step.

    Args:
        logits: Of at least two classes.
    """
    first, second = logits.double().topk(2, dim=1).values.unbind(dim=1)
    margin = float((first - second).max())
    least, most = MARGINS
    return min(max(margin, least), most) / margin if margin else 1.0
