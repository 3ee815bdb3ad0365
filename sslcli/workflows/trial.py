"""The attacks and corruptions that a robustness evaluation tries, and the names of its metrics."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sslcli.errors import UsageError
from sslcli.evaluate.robust.corruptions import CORRUPTIONS, SEVERITIES, Corruption, named_corruption
from sslcli.perturb.ball import Norm

EPS = (1.0, 2.0, 4.0, 8.0)  # in 1/255
EPS_L2 = (0.25, 0.5, 1.0)
CORRUPTED = "corrupted"  # stands for all corruptions that the authors average
LEVELS = range(1, SEVERITIES + 1)


@dataclass(frozen=True)
class Tried:
    """One condition that images are classified under; without any field, the clean images.

    Attributes:
        refine: The k of the JEM-k that classifies; None for the plain classifier.
        norm: Of an attack, "linf" or "l2".
        radius: Of an attack: in 1/255 for "linf", Euclidean over images in [0, 1] for "l2".
        is_autoattack: Whether the attack is AutoAttack; it is PGD otherwise.
        corruption: Name of a corruption; "corrupted" for the mean over those that count.
        severity: Of a corruption, 1 to 5; None for the mean over severities.
    """

    refine: int | None = None
    norm: Norm | None = None
    radius: float = 0.0
    is_autoattack: bool = False
    corruption: str = ""
    severity: int | None = None

    @property
    def name(self) -> str:
        """The name in tables, such as "refine-10/linf-8" or "fog/3"; empty for clean images."""
        parts = [] if self.refine is None else [f"refine-{self.refine}"]
        parts += ["autoattack"] if self.is_autoattack else []
        parts += [f"{self.norm}-{shown(self.radius)}"] if self.norm else []
        parts += [self.corruption] if self.corruption else []
        parts += [] if self.severity is None else [str(self.severity)]
        return "/".join(parts)

    @property
    def metric(self) -> str:
        """The name of the accuracy as a metric, such as "top1/linf-8"."""
        return f"top1/{self.name}".rstrip("/")

    @property
    def condition(self) -> str:
        """The name that measuring goes by; it decides the noise of a random classifier."""
        is_clean = not (self.norm or self.corruption)
        return f"{self.name}/clean".lstrip("/") if is_clean else self.name


@dataclass(frozen=True)
class Trial:
    """Settings of a robustness evaluation.

    Attributes:
        eps: Radii of L-inf attacks in 1/255, rising.
        eps_l2: Radii of L2 attacks, Euclidean over images in [0, 1], rising.
        steps: PGD steps of a restart.
        step: Length of a step, as a share of the radius.
        restarts: Random starts.
        autoattack: Whether AutoAttack is run at the same radii.
        refine: Refinement steps of each JEM-k that is attacked; none for the plain classifier.
        noise: Deviation of JEM-k's noise; None for that of training.
        replicas: Draws of the noise that a gradient is averaged over.
        verdicts: Draws whose mean logits decide.
        corruption: Names of corruptions; None for all.
        count: Test images to use; None for all.
    """

    eps: tuple[float, ...]
    eps_l2: tuple[float, ...]
    steps: int
    step: float
    restarts: int
    autoattack: bool
    refine: tuple[int, ...]
    noise: float | None
    replicas: int
    verdicts: int
    corruption: tuple[str, ...] | None
    count: int | None

    def check(self) -> None:
        """Raise UsageError for what cannot be."""
        self._check_numbers()
        if self.step <= 0 or not math.isfinite(self.step):
            raise UsageError("a step needs a positive length", "step_size")
        if self.noise is not None and not self.refine:
            hint = "add `refine` 0 for noise without refinement"
            raise UsageError("the plain classifier gets no noise", "noise", hint)
        if self.autoattack and not (self.eps or self.eps_l2):
            raise UsageError("AutoAttack needs a radius", "autoattack", "give `eps` or `eps_l2`")
        for name in self.corruption or ():
            named_corruption(name)

    def _check_numbers(self) -> None:
        """Raise UsageError for numbers that the command line refuses as it reads them."""
        counts = {"steps": self.steps, "restarts": self.restarts, "replicas": self.replicas,
                  "verdicts": self.verdicts, "count": self.count}  # fmt: skip
        for name, count in counts.items():
            if count is not None and count < 1:
                raise UsageError(f"{count} is less than 1", name)
        if self.noise is not None and not self.noise >= 0:
            raise UsageError("a deviation is at least 0", "noise")
        if any(steps < 0 for steps in self.refine):
            raise UsageError("no classifier is refined by a negative number of steps", "refine")
        for name, radii in (("eps", self.eps), ("eps_l2", self.eps_l2)):
            if not all(0 < radius < math.inf for radius in radii):
                raise UsageError("a radius is a number above 0", name)

    def check_l2(self, image_size: int) -> None:
        """Raise UsageError for an L2 radius that exceeds the distance of any two images."""
        farthest = math.sqrt(3) * image_size
        for radius in self.eps_l2:
            if radius >= farthest:
                what = f"no two images of {image_size} pixels are {shown(radius)} apart"
                hint = (
                    f"these are distances of images in 0 to 1: write {shown(radius)}/255 for levels"
                )
                raise UsageError(what, "eps_l2", hint)

    @property
    def radii(self) -> dict[Norm, tuple[float, ...]]:
        """The radii of each norm."""
        return {"linf": self.eps, "l2": self.eps_l2}

    @property
    def corruptions(self) -> list[Corruption]:
        """The corruptions in the table's order; all unless some are named."""
        named = self.corruption
        return [each for each in CORRUPTIONS if named is None or each.name in named]

    @property
    def averaged(self) -> list[Corruption]:
        """Those that the mean over corruptions is of."""
        return [each for each in self.corruptions if not each.is_extra]

    def classifiers(self) -> list[Tried]:
        """Return the classifiers that PGD attacks, each before any attack."""
        return [Tried(refine=steps) for steps in self.refine] or [Tried()]

    def attacks(self, on: Tried) -> list[Tried]:
        """Return the attacks on a classifier, each norm's from its smallest radius upwards."""
        pairs = ((norm, radius) for norm, radii in self.radii.items() for radius in radii)
        return [replace(on, norm=norm, radius=radius) for norm, radius in pairs]

    def autoattacks(self) -> list[Tried]:
        """Return AutoAttack at each radius."""
        attacks = self.attacks(Tried()) if self.autoattack else []
        return [replace(each, is_autoattack=True) for each in attacks]

    def tried(self) -> list[Tried]:
        """Return every condition once: clean images, attacks, then corruptions by severity."""
        found = [] if None in {each.refine for each in self.classifiers()} else [Tried()]
        for each in self.classifiers():
            found += [each, *self.attacks(each)]
        spoilt = [severities(each.name) for each in self.corruptions]
        return [*found, *self.autoattacks(), *(each for part in spoilt for each in part)]

    def means(self) -> list[Tried]:
        """Return the means over conditions: of a corruption, of a severity, of all."""
        found = [Tried(corruption=each.name) for each in self.corruptions]
        overall = [*severities(CORRUPTED), Tried(corruption=CORRUPTED)]
        return found + (overall if self.averaged else [])

    def metrics(self) -> list[str]:
        """Return the names of all metrics there will be."""
        gradients = ["zero_gradient"] if self.attacks(Tried()) else []
        return [*(each.metric for each in (*self.tried(), *self.means())), "n", *gradients]


def make_trial(
    *,
    count: int | None,
    eps: Sequence[float | int] | None,
    eps_l2: Sequence[float | int] | None,
    steps: int,
    step_size: float | None,
    corruption: Sequence[str] | None,
    refine: Sequence[int],
    **settings: Any,
) -> Trial:
    """Return the trial that the keywords of `robust_eval` ask for.

    Raises:
        UsageError: If something cannot be tried.
    """
    trial = Trial(
        eps=EPS if eps is None else tuple(sorted(set(map(float, eps)))),
        eps_l2=EPS_L2 if eps_l2 is None else tuple(sorted(set(map(float, eps_l2)))),
        steps=steps,
        step=2.5 / max(steps, 1) if step_size is None else step_size,
        refine=tuple(sorted(set(refine))),
        corruption=None if corruption is None else tuple(corruption),
        count=count,
        **settings,
    )
    trial.check()
    return trial


def severities(corruption: str) -> list[Tried]:
    """Return a corruption at each severity."""
    return [Tried(corruption=corruption, severity=level) for level in LEVELS]


def shown(radius: float) -> str:
    """Return a radius as metrics name it: in as many digits as tell it from every other."""
    short = f"{radius:g}"
    return short if float(short) == radius else repr(radius)
