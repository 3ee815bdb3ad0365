"""Plan the chains of `sample_sgld`: what was not asked for follows from the checkpoint."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from difflib import get_close_matches
from typing import Any, Literal

from torch import Tensor

from sslcli.errors import UsageError
from sslcli.evaluate.sampling import shared_out
from sslcli.perturb.sgld import Langevin
from sslcli.workflows.changes import Changes, laid_under
from sslcli.workflows.density import EnergyModel, Start
from sslcli.workflows.run import Run

Target = Literal["marginal", "class"]


@dataclass(frozen=True)
class Plan:
    """The chains to run.

    Attributes:
        start: Where they begin.
        target: Whether they climb log p(x), or log p(x, y) of their class.
        classes: The classes that chains are divided among; empty if classes play no part.
        labels: Class of each chain, [N]; -1 for none.
        settings: The sampler.
        seed: Decides starts and noise.
    """

    start: Start
    target: Target
    classes: list[int]
    labels: Tensor
    settings: Langevin
    seed: int

    @property
    def climbed(self) -> Tensor | None:
        """The classes y of log p(x, y) that chains climb, [N]; None for log p(x)."""
        return self.labels if self.target == "class" else None

    @property
    def density(self) -> str:
        """The density that chains climb."""
        return "log p(x, y)" if self.target == "class" else "log p(x)"

    def facts(self) -> dict[str, Any]:
        """Return the facts of the plan for a record."""
        return {
            "start": self.start,
            "target": self.target,
            "classes": self.classes,
            "sampler": asdict(self.settings),
            "seed": self.seed,
        }

    def __str__(self) -> str:
        chains = f"{len(self.labels):,} chains"
        of = f" of {len(self.classes)} classes" if len(self.classes) > 1 else ""
        where = "the replay buffer" if self.start == "buffer" else "fresh starts"
        sampler = f"step size {self.settings.step_size:g}, noise {self.settings.noise:g}"
        return f"{chains}{of} up {self.density} from {where}, {sampler}, seed {self.seed}"


def make_plan(
    run: Run,
    model: EnergyModel,
    classes: list[int],
    *,
    count: int,
    start: Start,
    target: Target | None,
    steps: int | None,
) -> Plan:
    """Return the plan, with a choice for all that was not asked for, and tell the listener.

    A model that was trained by samples of classes is sampled by class unless told otherwise.

    Raises:
        UsageError: If target, start and classes do not go together.
    """
    if count < 1:
        raise UsageError("there must be a chain", "count")
    target = target or ("class" if classes or model.is_by_class else "marginal")
    if target == "class" and not model.num_classes:
        raise UsageError("this model was trained without classes", "target", "use marginal")
    if target == "marginal" and classes and start == "fresh":
        hint = "use `start` buffer, whose images have classes, or `target` class"
        raise UsageError("log p(x) leads fresh chains to any class", "target", hint)
    if target == "class":
        classes = classes or list(range(model.num_classes or 0))
    settings = replace(model.sampler, steps=_steps(run, model, start, steps))
    labels = shared_out(count, classes or [-1])
    return Plan(start, target, classes, labels, settings, run.config.seed)


def _steps(run: Run, model: EnergyModel, start: Start, asked: int | None) -> int:
    if asked is not None:
        if asked < 0:
            raise UsageError(f"a chain cannot have {asked} steps", "steps")
        return asked
    steps = model.default_steps(start)
    what = "visits of the buffer" if start == "buffer" else "lives of chains"
    run.listener.note(f"{steps} steps, for the {what} in training; `steps` takes others")
    return steps


def with_sampler(overrides: Changes, step_size: float | None, noise: float | None) -> Changes:
    """Return `overrides` with the sampler's step size and noise put before them.

    Raises:
        UsageError: If the sampler cannot take them.
    """
    if step_size is not None and not 0 < step_size < math.inf:
        raise UsageError("the factor of the gradient must be a number above 0", "step_size")
    if noise is not None and not 0 <= noise < math.inf:
        raise UsageError("the deviation of the noise must be a number of at least 0", "noise")
    given = {"method.sampler.step_size": step_size, "method.sampler.noise": noise}
    fields = {name: float(value) for name, value in given.items() if value is not None}
    return laid_under(fields, overrides)


def chosen_classes(words: Sequence[str], names: tuple[str, ...]) -> list[int]:
    """Return the classes that are asked for, sorted, each once.

    Args:
        words: Names or numbers of classes, or "all"; a name goes before the number it may be.
        names: Classes of the model.

    Raises:
        UsageError: If the model has no such class.
    """
    if words and not names:
        hint = "leave out `class`, or train with method.num_classes"
        raise UsageError("this model was trained without classes", "class", hint)
    found: set[int] = set()
    for word in words:
        if word in names:
            found.add(names.index(word))
        elif word.isdecimal() and int(word) < len(names):
            found.add(int(word))
        elif word == "all":
            found |= set(range(len(names)))
        else:
            raise UsageError(f"the model knows no class {word!r}", "class", _known(word, names))
    return sorted(found)


def _known(word: str, names: tuple[str, ...]) -> str:
    if near := get_close_matches(word, names, n=1):
        return f"did you mean {near[0]}?"
    more = ", ..." if len(names) > 5 else ""
    return f"there are {', '.join(names[:5])}{more}; their numbers, up to {len(names) - 1}; and all"
