"""Runs that start from a checkpoint and end with an accuracy: fine-tuning, probes, distillation."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from sslcli import assemble
from sslcli.cli.evaluation import Evaluation
from sslcli.cli.resuming import begun_with, check_data, check_length
from sslcli.cli.train import Place, train_run
from sslcli.config.schema import Config, RecipeConfig
from sslcli.data.sources.open import Source
from sslcli.data.sources.splits import Splits
from sslcli.distributed.collective import from_main, is_main, world_size
from sslcli.engine.checkpoint import Checkpoint
from sslcli.engine.device import resolve_precision
from sslcli.engine.loop import Training
from sslcli.engine.state import has_state
from sslcli.engine.stop import Stop
from sslcli.errors import SslError, UsageError
from sslcli.evaluate.features import Features
from sslcli.methods.base import Method

# What a recipe decides, where a config or an error names it (not the file optimizer.safetensors).
_OF_RECIPE = re.compile(r"(?<![\w./])(train\.(?=duration|batch_size)|(?=(optimizer|schedule)\.))")


class CheckpointRun(ABC):
    """One training on an evaluation's data; call it with a seed.

    Args:
        evaluation: Checkpoint, data and encoder.
        place: Where the run goes; further seeds go beside it.
        stop: Signals and time limit.
        series: Whether several seeds follow each other; one resumed goes on where it stopped.
    """

    def __init__(
        self, evaluation: Evaluation, place: Place, stop: Stop, *, series: bool = False
    ) -> None:
        self.evaluation, self.place, self.stop, self.series = evaluation, place, stop, series

    @property
    @abstractmethod
    def section(self) -> str:
        """Name the section of the config that the recipe comes from."""

    @abstractmethod
    def recipe(self, seed: int) -> tuple[Config, Source]:
        """Return the config of a seed's run and the images that it may learn from."""

    @abstractmethod
    def method(self, config: Config) -> Method:
        """Return what is trained, at its start."""

    @abstractmethod
    def test(self, training: Training) -> dict[str, Any]:
        """Return what is measured on the test part."""

    def __call__(self, seed: int) -> dict[str, Any]:
        """Train, then measure."""
        place, checkpoint = self._place(seed), self.evaluation.checkpoint.path.resolve()
        config, source = self.recipe(seed)
        if is_main() and place.check(config).resolve() in checkpoint.parents:
            hint = "choose another --out"
            raise UsageError("this folder holds the checkpoint itself", str(place.out), hint)
        if (past := from_main(place.saved() if is_main() else None)) is not None:
            check_data(past, self.splits(), self.evaluation.show)
            self._keep_precision(config, past)
        with _naming_fields_of(self.section):
            training = self.training(config, source)
            if past is not None:
                check_length(past, training, self.evaluation.show)
            run = Path(from_main(str(place.make(config)) if is_main() else ""))
            known = (config, self.splits(), self.evaluation.checkpoint)
            facts = assemble.data_facts(*known) if is_main() else {}
            train_run(training, self.splits(), facts, run, place, self.stop, self.evaluation.show)
        return {**self.test(training), "run": str(run)}

    def _keep_precision(self, config: Config, past: Checkpoint) -> None:
        """Go on in the precision that the run began with, and measure in it."""
        evaluation = self.evaluation
        begun = begun_with(past, evaluation.device)
        precision, why = resolve_precision(config.train.precision, evaluation.device, begun)
        if precision != evaluation.precision:
            evaluation.listener.note(f"precision {precision} ({why})")
        self.evaluation = replace(evaluation, precision=precision)

    def _place(self, seed: int) -> Place:
        """Return where a seed's run goes, and whether it goes on or starts."""
        place = self.place
        if seed != self.evaluation.config.seed:
            place = replace(place, out=f"{place.out}-seed{seed}")
        has_begun = from_main(has_state(Path(str(place.out))))
        if place.resume and self.series and not has_begun:
            return replace(place, resume=False, overwrite=True)
        return place

    def splits(self) -> Splits:
        """Return the data, whose classes the run's checkpoint will name."""
        return self.evaluation.splits

    def training(self, config: Config, source: Source) -> Training:
        """Return a training at step 0."""
        evaluation = self.evaluation
        return assemble.build_training(
            config,
            assemble.place(self.method(config), config, evaluation.device),
            source,
            evaluation.device,
            evaluation.precision,
            evaluation.listener.bar("decoding"),
        )

    def logits(self, classifier: nn.Module, config: Config) -> Features:
        """Return what a classifier makes of the test part."""
        evaluation = self.evaluation
        test = evaluation.splits.test
        found = assemble.features_of(
            classifier, test, config, evaluation.device, evaluation.precision
        )
        evaluation.leave_out(test, found.rows)
        return found


@contextmanager
def _naming_fields_of(section: str) -> Iterator[None]:
    """Have faults name the fields that the recipe is read from, such as its optimizer.base_lr."""
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
    """Return the config of a run that follows a recipe: the checkpoint's in all else."""
    plain = config.model_dump()
    plain |= {
        "preset": f"{config.preset}+{method['name']}",
        "seed": seed,
        "method": method,
        **recipe.model_dump(include={"views", "optimizer", "schedule"}),
    }
    plain["train"] |= {
        "duration": recipe.duration,
        "batch_size": min(recipe.batch_size, len(source) // world_size() * world_size()),
        "accumulate": 1,
        "chunk_size": None,
    }
    plain["data"]["validation"] = 0.0
    plain["evaluation"]["online_every"] = None
    return Config.model_validate(plain)


def briefly(config: Config) -> str:
    """Return a run's length, batch and optimiser in words."""
    train, optimizer = config.train, config.optimizer.name
    return f"{train.duration}, batch {train.batch_size}, augmented {optimizer.upper()}"
