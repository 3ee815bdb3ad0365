"""The conditions of `ssl robust-eval`, read and checked before any work."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sslcli.errors import UsageError
from sslcli.evaluate.robust.corruptions import CORRUPTIONS, SEVERITIES, Corruption, named_corruption


@dataclass(frozen=True)
class Trial:
    """The attacks and corruptions asked for; see `ssl robust-eval --help`.

    Radii rise, `linf` in 1/255 and `l2` in units of [0, 1]; `step` is a share of the radius;
    `named` are the corruptions, None for all.
    """

    linf: tuple[float, ...]
    l2: tuple[float, ...]
    steps: int
    step: float
    restarts: int
    autoattack: bool
    refine: tuple[int, ...]
    noise: float | None
    replicas: int
    verdicts: int
    named: tuple[str, ...] | None
    count: int | None

    def check(self) -> None:
        """Raise UsageError for what cannot be."""
        if self.step <= 0 or not math.isfinite(self.step):
            raise UsageError("a step needs a positive length", "--step-size")
        if self.noise is not None and not self.refine:
            what = "the plain classifier gets no noise"
            raise UsageError(what, "--noise", "add --refine 0 for noise without refinement")
        if self.autoattack and not (self.linf or self.l2):
            raise UsageError("AutoAttack needs a radius", "--autoattack", "give --eps or --eps-l2")
        if self.named != ("none",):
            for name in self.named or ():
                named_corruption(name)

    @property
    def corruptions(self) -> list[Corruption]:
        """The corruptions in the table's order; all unless some or "none" are named."""
        return [each for each in CORRUPTIONS if self.named is None or each.name in self.named]

    @property
    def averaged(self) -> list[str]:
        """Names of those that the mean over corruptions is of."""
        return [each.name for each in self.corruptions if not each.is_extra]

    def attacks(self) -> list[str]:
        """Return the attacks' names, each norm's from its smallest radius upwards."""
        return [f"linf-{shown(each)}" for each in self.linf] + [
            f"l2-{shown(each)}" for each in self.l2
        ]

    def metrics(self) -> list[str]:
        """Return the names of all metrics there will be."""
        names = [f"{defence}{attack}" for defence in self.defences() for attack in self.attacks()]
        names += [defence.rstrip("/") for defence in self.defences() if defence]
        names += [f"autoattack/{attack}" for attack in self.attacks() if self.autoattack]
        spoilt = [each.name for each in self.corruptions] + (["corrupted"] if self.averaged else [])
        levels = ["", *(f"/{severity}" for severity in range(1, SEVERITIES + 1))]
        names += [f"{name}{level}" for name in spoilt for level in levels]
        attacked = ["zero_gradient"] if self.attacks() else []
        return ["top1", "n", *attacked, *(f"top1/{name}" for name in names)]

    def defences(self) -> dict[str, int | None]:
        """Return refinement steps by what stands before an attack's name; None is no defence."""
        return {f"refine-{steps}/": steps for steps in self.refine} or {"": None}


def shown(radius: float) -> str:
    """Return a radius as metrics name it: in as many digits as tell it from every other."""
    short = f"{radius:g}"
    return short if float(short) == radius else repr(radius)


def check_l2(trial: Trial, image_size: int) -> None:
    """Raise UsageError for an L2 radius that exceeds the distance of any two images."""
    farthest = math.sqrt(3) * image_size
    for radius in trial.l2:
        if radius >= farthest:
            what = f"no two images of {image_size} pixels are {shown(radius)} apart"
            hint = f"these are distances of images in 0 to 1: write {shown(radius)}/255 for levels"
            raise UsageError(what, "--eps-l2", hint)


def radii(
    given: Sequence[str] | None, option: str, default: tuple[float, ...], levels: int
) -> tuple[float, ...]:
    """Read radii such as ["2,4", "8"], rising and without repetition; "none" is none.

    Args:
        given: What the option says; None takes the default.
        option: Its name, for errors.
        default: Radii when it is not given.
        levels: What 255 of 255 levels are in the option's unit: 255, or 1.

    Raises:
        UsageError: If one is no positive number, or surely meant in another unit.
    """
    if given is None:
        return default
    if list(given) == ["none"]:
        return ()
    found = {_radius(text.strip(), option, levels) for text in ",".join(given).split(",")}
    return tuple(sorted(found))


def _radius(text: str, option: str, levels: int) -> float:
    """Read one radius; "8/255" is 8 levels whatever the option's unit."""
    number, slash, _ = text.partition("/")
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    is_fraction = text == f"{number}/255"
    if not (math.isfinite(value) and value > 0) or (slash and not is_fraction):
        raise UsageError(f"{text!r} is no radius", option, "write 2,4,8, or none")
    if levels == 255 and value < 1 and not is_fraction:
        what = f"{text} would be {text}/255, less than one level of an image"
        hint = f"write {255 * value:.3g} for {text} of images in 0 to 1; {text}/255 if you mean it"
        raise UsageError(what, option, hint)
    if levels == 255 and value > 255:
        raise UsageError(f"{text}/255 is more than images have", option, "write 2,4,8, or none")
    return value * (levels / 255) if is_fraction else value


def refinements(given: Sequence[str] | None) -> tuple[int, ...]:
    """Read numbers of refinement steps such as ["0,1", "10"].

    Raises:
        UsageError: If one is no number of steps.
    """
    texts = [text.strip() for text in ",".join(given).split(",")] if given else []
    for text in texts:
        if not text.isdecimal():
            raise UsageError(f"{text!r} is no number of steps", "--refine", "write 0,1,10")
    return tuple(sorted({int(text) for text in texts}))
