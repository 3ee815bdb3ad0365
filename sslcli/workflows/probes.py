"""Linear classifiers on a frozen encoder: on cached features, and by the papers' recipe."""

import copy
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor, nn

from sslcli import assemble
from sslcli.config.evaluation import LinearConfig, ProtocolConfig
from sslcli.config.schema import Config
from sslcli.data.sources.base import Source
from sslcli.distributed.collective import is_main
from sslcli.engine.loop import Training
from sslcli.errors import UsageError
from sslcli.evaluate.few_shot import FewShots
from sslcli.evaluate.linear import evaluate_linear, fit_linear
from sslcli.evaluate.metrics import Accuracy, accuracy, ranking
from sslcli.evaluate.seeds import Summary
from sslcli.methods.base import HasClassifiers, Method, reads
from sslcli.workflows.finetune import Supervised
from sslcli.workflows.rates import best, hold_out, judged, keep_best
from sslcli.workflows.recipes import Kind
from sslcli.workflows.run import Run

Solver = Literal["lbfgs", "sgd"]
# Fields of the recipe that the method's section takes over.
_OF_METHOD = {"rates", "per_cell", "init", "logit_clip", "logit_penalty"}


class FeatureProbe:
    """A linear classifier on cached features; call it with a seed.

    Args:
        run: Checkpoint, data and encoder.
        solver: How it is fitted.
        network: Instead of the encoder with what is read out of it; `nn.Flatten` for raw pixels.
    """

    def __init__(self, run: Run, solver: Solver, network: nn.Module | None = None) -> None:
        self.run, self.solver = run, solver
        self.network = network
        if not network and (name := features_of(run)) != run.config.evaluation.features:
            run.listener.note(f"features: {name}")
            self.network = assemble.load_read_out(run.checkpoint, name, run.device)

    def __call__(self, seed: int) -> dict[str, Any]:
        """Fit on the training part and return the accuracy on the test part."""
        (train, labels), (test, right), names = self._parts
        bar, solver = self.run.listener.bar("fitting"), self.solver
        probe = fit_linear(train, labels, len(names), solver=solver, seed=seed, progress=bar)
        measured = vars(evaluate_linear(probe, test, right))
        own = {"l2": probe.l2, "fit_seconds": round(probe.seconds, 2)}
        return {**measured, **own, "classes": names}

    def few_shots(self, few: FewShots) -> dict[str, Summary]:
        """Return the accuracies of probes that are fitted to few labels."""
        (train, labels), (test, right), names = self._parts
        solver, seed = self.solver, self.run.config.seed

        def measure(rows: Tensor) -> Accuracy:
            probe = fit_linear(train[rows], labels[rows], len(names), solver=solver, seed=seed)
            return evaluate_linear(probe, test, right)

        few.check(labels.numpy(), names)  # of the images that can be read
        return few.measure(labels, seed, measure, self.run.listener.bar("drawing few labels"))

    @cached_property
    def _parts(self) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor], tuple[str, ...]]:
        """Return features and classes of the training and the test part, and the classes' names."""
        splits, network = self.run.splits, self.network
        how: tuple[Any, ...] = ("fp32", "image") if isinstance(network, nn.Flatten) else ()
        train, test = (
            self.run.labelled_features(part, network, *how) for part in (splits.train, splits.test)
        )
        return train, test, splits.train.class_names


class PaperProbe(Supervised):
    """The papers' linear classifier, trained on augmented images above the frozen encoder.

    With several rates as many classifiers are trained in one pass; the best on a tenth of the
    training images, which none has seen, is measured and kept.
    """

    kind: Kind = "linear-probe"

    def protocol(self) -> LinearConfig:
        """Return the recipe; the first of several rates is the optimiser's."""
        found = super().protocol()
        assert isinstance(found, LinearConfig)
        if not found.rates:
            return found
        optimizer = found.optimizer.model_copy(update={"base_lr": found.rates[0]})
        return found.model_copy(update={"optimizer": optimizer})

    def own(self, protocol: ProtocolConfig) -> dict[str, Any]:
        """Return the fields of the method's section that the recipe decides."""
        own, features = super().own(protocol), features_of(self.run)
        if features == "head":
            hint = "use `protocol` features, or `layers` encoder"
            what = "the papers' probe is trained on the encoder, without its projection head"
            raise UsageError(what, "layers", hint)
        recipe = self.protocol()
        return own | {"features": features} | recipe.model_dump(include=_OF_METHOD)

    def source(self, protocol: ProtocolConfig, seed: int) -> Source:
        """Return the images whose labels are learned, without those that several rates need."""
        source = super().source(protocol, seed)
        return hold_out(source, seed)[0] if self.protocol().rates else source

    def test(self, training: Training) -> dict[str, Any]:
        """Return the accuracy on the test part, of the best of several rates."""
        rates = self.protocol().rates
        if not rates:
            return super().test(training)
        method, config = training.method, training.config
        assert isinstance(method, HasClassifiers)
        held_out = hold_out(super().source(self.protocol(), config.seed), config.seed)[1]
        parts = [self._features(method, part, config) for part in (held_out, self.splits().test)]
        with torch.inference_mode():
            each = [copy.deepcopy(one).cpu() for one in method.classifiers.values()]
            found = [judged(rate, one, *parts) for rate, one in zip(rates, each, strict=True)]
            chosen = best(found)
            logits = each[chosen](parts[1][0])
        how = f"rate {rates[chosen]:g} (the best of {len(rates)} on {len(held_out)} held-out"
        protocol = f"{self.told(config)}, {how} training samples, not trained again on those)"
        measured = accuracy(ranking(logits), parts[1][1], logits.shape[1], protocol)
        own = {"rates": tuple(found), "rate": rates[chosen]}
        return {**vars(measured), **own, "classes": self.splits().train.class_names}

    def _features(self, method: Method, source: Source, config: Config) -> tuple[Tensor, Tensor]:
        """Return the features and classes of a source's images, below the classifiers."""
        network = method.towers()[reads(method.encoder)]
        found = assemble.features_of(network, source, config, self.run.device, self.precision)
        self.run.leave_out(source, found.rows)
        return found.features, assemble.labels_of(source, found)

    def __call__(self, seed: int) -> dict[str, Any]:
        """Train, then measure; the best of several rates becomes the checkpoint's classifier."""
        found = super().__call__(seed)
        if "rates" in found and (chosen := best(found["rates"])) and is_main():
            keep_best(found["run"], f"others.{chosen - 1}")
        return found


def features_of(run: Run) -> str:
    """Return the name of what a linear classifier of a run stands on."""
    settings = run.config.evaluation
    return settings.linear_features or settings.features
