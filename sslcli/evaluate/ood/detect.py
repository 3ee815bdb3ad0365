"""Fit and tune scores on training data, then measure how they separate inside from outside."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from sslcli.errors import UsageError
from sslcli.evaluate.ood.bootstrap import Bootstrap
from sslcli.evaluate.ood.metrics import METRICS, auroc, rank
from sslcli.evaluate.ood.scores import Score, Scorer, Settings
from sslcli.evaluate.ood.seen import Known, Seen

VALIDATION_SHARE, VALIDATION_MOST = 0.1, 1_000


@dataclass(frozen=True)
class Fitted:
    """A score with its settings, fitted on training data.

    Attributes:
        score: Which.
        settings: What was chosen, by name.
        tuned_auroc: AUROC on validation images against pseudo-outliers, which chose them; None when
            they are the published defaults.
        run: Returns the scores of a set of images.
    """

    score: Score
    settings: Settings
    tuned_auroc: float | None
    run: Scorer


@dataclass(frozen=True)
class Measured:
    """The figures of one score on one outside set.

    Attributes:
        score: Its name.
        outside: The name of the outside set.
        n_inside: Inside images.
        n_outside: Outside images.
        auroc: See `metrics.auroc`; the four below likewise.
        aupr_in: Average precision of finding the inside.
        aupr_out: Average precision of finding the outside.
        fpr95_in: Share of the outside accepted where 95 % of the inside are.
        fpr95_out: Share of the inside refused where 95 % of the outside are.
        intervals: 95 % bootstrap interval of each of the five, by its name.
    """

    score: str
    outside: str
    n_inside: int
    n_outside: int
    auroc: float
    aupr_in: float
    aupr_out: float
    fpr95_in: float
    fpr95_out: float
    intervals: dict[str, tuple[float, float]]

    def values(self) -> dict[str, float]:
        """Return each of `metrics.METRICS` by its name."""
        return {name: getattr(self, name) for name in METRICS}

    def as_dict(self) -> dict[str, Any]:
        """Return one flat row for JSON; intervals have `_interval` behind the metric's name."""
        plain = asdict(self)
        intervals = plain.pop("intervals")
        return {**plain, **{f"{name}_interval": ends for name, ends in intervals.items()}}


def validation_rows(count: int, seed: int) -> np.ndarray:
    """Return which of `count` training images are held out from all fitting, ascending.

    A tenth, at most 1,000, and at least one.
    """
    wanted = min(VALIDATION_MOST, max(1, round(VALIDATION_SHARE * count)))
    return np.sort(np.random.default_rng(seed).permutation(count)[:wanted])


def fit_scores(
    scores: Sequence[Score], known: Known, pseudo: Seen | None, *, named: bool
) -> tuple[list[Fitted], dict[str, str]]:
    """Fit every score that applies.

    Args:
        scores: Which.
        known: Training data and network.
        pseudo: Images that are surely outside, made of validation images; of several settings the
            one that parts them best is chosen, the default on ties. None keeps the defaults.
        named: Whether the scores were asked for by name; one that does not apply is then an error.

    Returns:
        What was fitted, and why each of the others does not apply, by name.

    Raises:
        UsageError: If a score asked for by name does not apply, or if none does.
    """
    fitted, left_out = [], {}
    for score in scores:
        if (why := score.why_not(known)) and not named:
            left_out[score.name] = why
            continue
        try:
            fitted.append(_fit(score, known, pseudo))
        except UsageError as error:
            if named:
                raise
            left_out[score.name] = error.what
    if not fitted:
        reasons = "; ".join(f"{name}: {why}" for name, why in left_out.items())
        raise UsageError(f"no score applies: {reasons}", "score")
    return fitted, left_out


def _fit(score: Score, known: Known, pseudo: Seen | None) -> Fitted:
    if why := score.why_not(known):
        hint = "without `score`, all scores that apply are used"
        raise UsageError(f"{score.name} does not apply: {why}", "score", hint)
    settings, default = next(candidates := score.fit(known))
    tried = [Fitted(score, settings, None, default)]
    if pseudo is not None:
        tried += [Fitted(score, settings, None, run) for settings, run in candidates]
    if pseudo is None or len(tried) == 1:
        return tried[0]
    reached = [auroc(each.run(known.validation), each.run(pseudo)) for each in tried]
    best = int(np.argmax(reached))  # the first of equals, so the default before the others
    return replace(tried[best], tuned_auroc=reached[best])


def measure(
    scores: Mapping[str, tuple[Tensor, Tensor]], outside: str, bootstrap: Bootstrap
) -> list[Measured]:
    """Measure every score on one outside set.

    Args:
        scores: Scores of the inside [N] and of the outside set [M], by the score's name.
        outside: The outside set's name.
        bootstrap: Drawn for N and M; shared, so that scores are compared on the same resamples.
    """
    return [
        Measured(
            name,
            outside,
            len(own),
            len(other),
            **rank(own, other),
            intervals=bootstrap.intervals(own, other),
        )
        for name, (own, other) in scores.items()
    ]
