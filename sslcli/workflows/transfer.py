"""The base of trainings that start from a checkpoint and end with an accuracy."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sslcli import assemble
from sslcli.config.evaluation import RecipeConfig
from sslcli.config.schema import Config, Logger
from sslcli.data.sources.files import read_whole
from sslcli.data.sources.open import Source
from sslcli.data.sources.splits import Splits
from sslcli.distributed.collective import from_main, is_main, world_size
from sslcli.engine.boards import need_logger
from sslcli.engine.checkpoint import Checkpoint
from sslcli.engine.device import resolve_precision
from sslcli.engine.loop import Training
from sslcli.engine.state import has_state
from sslcli.engine.stop import Stop
from sslcli.environment import world
from sslcli.errors import SslError, UsageError
from sslcli.evaluate.features import Features
from sslcli.evaluate.metrics import shown
from sslcli.evaluate.seeds import Summary, deviations
from sslcli.methods.base import Method
from sslcli.workflows.fit import Outlook, look, room_on
from sslcli.workflows.place import Place
from sslcli.workflows.resuming import begun_with, check_data, check_length, refitted
from sslcli.workflows.run import Run
from sslcli.workflows.training import train_run
from sslcli.workflows.ways import MILD

AVERAGED = ("top1", "top5", "mean_per_class")  # over several seeds
# What a recipe decides, where a config or an error names it (not the file optimizer.safetensors).
_OF_RECIPE = re.compile(
    r"(?<![\w./])(train\.(?=duration|batch_size|accumulate)|(?=(optimizer|schedule)\.))"
)


@dataclass(frozen=True, kw_only=True)
class Repeated:
    """Numbers of one seed, or of several, whose accuracies are then means.

    Attributes:
        over_seeds: Mean, deviation and n of what was averaged, by name; empty for a single run.
    """

    over_seeds: dict[str, Summary] = field(default_factory=dict, repr=False)

    def as_dict(self) -> dict[str, Any]:
        """Return every number by name, deviations too; None for what was not measured."""
        found = {n: str(v) if isinstance(v, Path) else v for n, v in shown(self).items()}
        return found | (deviations(self.over_seeds) if self.over_seeds else {})


class Transfer(ABC):
    """One training on the data of a checkpoint; call it with a seed.

    Args:
        run: Checkpoint, data and encoder.
        place: Where the training goes; further seeds go beside it.
        stop: Signals and time limit.
        seeds: The seeds to train with in turn; a resumed series goes on where it stopped.
        log: Where the rows of metrics.jsonl go, too.
        fit: Change the recipe by the least that makes the training fit the free memory.
    """

    def __init__(
        self,
        run: Run,
        place: Place,
        stop: Stop,
        seeds: Sequence[int] = (),
        log: Logger | None = None,
        *,
        fit: bool = False,
    ) -> None:
        self.run, self.place, self.stop, self.seeds = run, place, stop, seeds
        self.log, self.fit = log, fit
        self.listener, self.precision = run.listener, run.precision

    @property
    @abstractmethod
    def section(self) -> str:
        """Name the section of the config that the recipe comes from."""

    @abstractmethod
    def recipe(self, seed: int) -> tuple[Config, Source]:
        """Return the config of a seed's training and the images that it may learn from."""

    @abstractmethod
    def method(self, config: Config) -> Method:
        """Return the method to train, at its start."""

    @abstractmethod
    def test(self, training: Training) -> dict[str, Any]:
        """Return the figures on the test part."""

    def __call__(self, seed: int) -> dict[str, Any]:
        """Train, then measure."""
        place, checkpoint = self._place(seed), self.run.checkpoint.path.resolve()
        config, source = self.recipe(seed)
        train = config.train.model_copy(update={"log": self.log})
        config = config.model_copy(update={"train": train})
        need_logger(config)
        if self.fit and place.resume:
            config, _ = refitted(place.stored(), config)
        if is_main() and place.check(config).resolve() in checkpoint.parents:
            hint = "choose another `out`"
            raise UsageError("this folder holds the checkpoint itself", str(place.out), hint)
        if (past := from_main(place.saved() if is_main() else None)) is not None:
            check_data(past, self.splits(), self.listener)
            self._keep_precision(config, past)
        with _naming_fields_of(self.section):
            config = self._checked(config, source, fit=self.fit and past is None)
            training = self.training(config, source)
            if past is not None:
                check_length(past, training, self.listener)
            folder = Path(from_main(str(place.make(config)) if is_main() else ""))
            known = (config, self.splits(), self.run.checkpoint)
            if is_main():
                read_whole(self.splits().train, self.listener.bar("reading the images"))
            facts = assemble.data_facts(*known) if is_main() else {}
            train_run(training, self.splits(), facts, folder, place, self.stop, self.listener)
        return {**self.test(training), "run": folder}

    def _checked(self, config: Config, source: Source, *, fit: bool) -> Config:
        """Return the config, or what fits of it; raise ResourceError when it cannot fit."""
        outlook = self.outlook(config, source, fit=fit)
        outlook.check(self.listener)
        return outlook.config

    def planned(self, processes: int) -> Outlook:
        """Return what the training of the config's seed takes, in so many processes."""
        return self.outlook(*self.recipe(self.run.config.seed), fit=self.fit, planned_for=processes)

    def outlook(
        self, config: Config, source: Source, *, fit: bool, planned_for: int = 0
    ) -> Outlook:
        """Return what a training takes beside what is free, changed to fit if asked for.

        Args:
            config: The recipe's.
            source: The images to learn from.
            fit: Change the config until the training fits.
            planned_for: Processes to plan for; 0 for those that are here.
        """
        device = self.run.device
        local = planned_for or min(world().local_size, world_size())
        with torch.random.fork_rng(devices=()):
            method = assemble.place(self.method(config), config, device)

        def planner(other: Config) -> tuple[Training, int]:
            training = assemble.plan_training(
                other, source, device, self.precision, method=method, machine_share=local
            )
            return training, 0

        found = look(config, planner, room_on(device, local), MILD, planned_for or world_size())
        return found.fitted(self.listener) if fit else found

    def _keep_precision(self, config: Config, past: Checkpoint) -> None:
        """Go on in the precision that the training began with, and measure in it."""
        device = self.run.device
        begun = begun_with(past, device)
        precision, why = resolve_precision(config.train.precision, device, begun)
        if precision != self.precision:
            self.listener.note(f"precision {precision} ({why})")
        self.precision = precision

    def _place(self, seed: int) -> Place:
        """Return where a seed's training goes, and whether it goes on or starts."""
        place = self.place
        if seed != self.run.config.seed:
            place = replace(place, out=f"{place.out}-seed{seed}")
        has_begun = from_main(has_state(Path(str(place.out))))
        if place.resume and self.seeds and not has_begun:
            return replace(place, resume=False, overwrite=True)
        return place

    def splits(self) -> Splits:
        """Return the data, whose classes the training's checkpoint will name."""
        return self.run.splits

    def training(self, config: Config, source: Source) -> Training:
        """Return a training at step 0."""
        device = self.run.device
        return assemble.build_training(
            config,
            assemble.place(self.method(config), config, device),
            source,
            device,
            self.precision,
            self.listener.bar("decoding"),
        )

    def logits(self, classifier: nn.Module, config: Config) -> Features:
        """Return the logits of a classifier on the test part."""
        test = self.run.splits.test
        found = assemble.features_of(classifier, test, config, self.run.device, self.precision)
        self.run.leave_out(test, found.rows)
        return found


@contextmanager
def _naming_fields_of(section: str) -> Iterator[None]:
    """Make faults name the recipe's own fields, such as evaluation.linear.optimizer.base_lr."""
    try:
        yield
    except SslError as fault:
        for each in fault.faults():
            each.where, each.hint = (
                _OF_RECIPE.sub(f"{section}.", text) for text in (each.where, each.hint)
            )
        raise


def config_of(
    config: Config, method: dict[str, Any], recipe: RecipeConfig, source: Source, seed: int
) -> Config:
    """Return the checkpoint's config with a method and a recipe in place of its own.

    Raises:
        UsageError: If its encoder does not read what the method learns from.
    """
    shown = _shown(config, method, recipe)
    together = world_size() * recipe.accumulate
    plain = config.model_dump()
    plain |= {
        "preset": f"{config.preset}+{method['name']}",
        "seed": seed,
        "method": method,
        **shown,
        **recipe.model_dump(include={"optimizer", "schedule"}),
    }
    plain["train"] |= {
        "duration": recipe.duration,
        "batch_size": min(recipe.batch_size, len(source) // together * together),
        "accumulate": recipe.accumulate,
        "chunk_size": None,
        "log": None,
        "best": None,
        "patience": None,
    }
    plain["data"]["validation"] = 0.0
    plain["evaluation"]["online_every"] = None
    plain["evaluation"]["features"] = method.get("features", "encoder")  # below the classifier
    plain["evaluation"]["linear_features"] = None
    return Config.model_validate(plain)


def _shown(config: Config, method: dict[str, Any], recipe: RecipeConfig) -> dict[str, Any]:
    """Return the views of images, as the recipe has them, or of texts, cut as in the checkpoint."""
    if method.get("column") != "text":
        _ = assemble.pixels_of(config)
        return {"views": recipe.model_dump(include={"views"})["views"], "texts": ()}
    if recipe.views or method["mixup"] or method["cutmix"]:
        what = f"views, mixup and cutmix are of images, and {config.encoder.name} reads sentences"
        raise UsageError(what, "evaluation.finetune", "take a recipe of texts, or leave them out")
    return {"views": (), "texts": ({"max_length": max(v.max_length for v in config.texts)},)}


def briefly(config: Config) -> str:
    """Return a training's length, batch and optimiser in words."""
    train, optimizer = config.train, config.optimizer.name
    views = "augmented " if config.views else ""
    return f"{train.duration}, batch {train.batch_size}, {views}{optimizer.upper()}"
