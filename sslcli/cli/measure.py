"""The evaluations that commands offer, as calls on an open evaluation."""

from typing import Any, Literal

from sslcli.cli.evaluation import Evaluation
from sslcli.evaluate.linear import evaluate_linear, fit_linear


class FeatureProbe:
    """A linear classifier on cached features; call it with a seed."""

    def __init__(self, evaluation: Evaluation, solver: Literal["lbfgs", "sgd"]) -> None:
        self.evaluation, self.solver = evaluation, solver

    def __call__(self, seed: int) -> dict[str, Any]:
        """Fit on the training part and return the accuracy on the test part."""
        splits = self.evaluation.splits
        train, labels = self.evaluation.labelled_features(splits.train)
        test, right = self.evaluation.labelled_features(splits.test)
        bar = self.evaluation.listener.bar("fitting")
        classes = len(splits.train.class_names)
        probe = fit_linear(train, labels, classes, solver=self.solver, seed=seed, progress=bar)
        measured = evaluate_linear(probe, test, right).as_dict()
        return {**measured, "l2": probe.l2, "fit_seconds": round(probe.seconds, 2)}
