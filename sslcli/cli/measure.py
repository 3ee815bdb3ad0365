"""The evaluations that commands offer, as calls on an open evaluation."""

from dataclasses import replace
from typing import Any, Literal

from torch import nn

from sslcli.cli.evaluation import Evaluation
from sslcli.cli.watch import Bar
from sslcli.evaluate.geometry import alignment, effective_rank, uniformity
from sslcli.evaluate.knn import KNNAccuracy, evaluate_knn
from sslcli.evaluate.linear import evaluate_linear, fit_linear
from sslcli.probing import paired_features


def knn(
    evaluation: Evaluation,
    k: int,
    temperature: float,
    index: Literal["flat", "ivf", "hnsw"] = "flat",
    bar: Bar | None = None,
) -> KNNAccuracy:
    """Return the accuracy of the weighted vote on the test part."""
    train, labels = evaluation.features(evaluation.splits.train)
    test, right = evaluation.features(evaluation.splits.test)
    classes = len(evaluation.splits.train.class_names)
    wants_all = k == len(evaluation.splits.train)  # that can be read
    return evaluate_knn(
        train, labels, test, right,
        k=len(train) if wants_all else k, temperature=temperature, num_classes=classes, kind=index,
        progress=bar,
    )  # fmt: skip


def geometry(evaluation: Evaluation) -> dict[str, float]:
    """Return how the test images lie on the sphere (Wang & Isola 2020; Roy & Vetterli 2007).

    Alignment is of two random views of each image, lower is better; uniformity and effective rank
    are of the first views.
    """
    first, second = paired_features(
        evaluation.encoder,
        evaluation.splits.test,
        evaluation.config,
        evaluation.device,
        evaluation.precision,
    )
    return {
        "alignment": float(alignment(first, second)),
        "uniformity": float(uniformity(first)),
        "effective_rank": float(effective_rank(first)),
    }


def pixels_knn(evaluation: Evaluation, k: int, temperature: float) -> KNNAccuracy:
    """Return the accuracy of the same vote on normalised pixels."""
    flat = replace(evaluation, encoder=nn.Flatten(), precision="fp32")
    return knn(flat, k, temperature)


def neighbours(evaluation: Evaluation, given: int | None) -> int:
    """Return how many neighbours vote: what was asked for, else the preset's as far as they go."""
    preset, images = evaluation.config.evaluation.k, len(evaluation.splits.train)
    if given or preset <= images:
        return given or preset
    evaluation.show.warn(f"k is {images}, all training images there are; the preset has {preset}")
    return images


class FeatureProbe:
    """A linear classifier on cached features; call it with a seed."""

    def __init__(self, evaluation: Evaluation, solver: Literal["lbfgs", "sgd"]) -> None:
        self.evaluation, self.solver = evaluation, solver

    def __call__(self, seed: int) -> dict[str, Any]:
        """Fit on the training part and return the accuracy on the test part."""
        splits = self.evaluation.splits
        train, labels = self.evaluation.features(splits.train)
        test, right = self.evaluation.features(splits.test)
        bar = Bar(self.evaluation.show, "fitting")
        classes = len(splits.train.class_names)
        probe = fit_linear(train, labels, classes, solver=self.solver, seed=seed, progress=bar)
        measured = evaluate_linear(probe, test, right).as_dict()
        return {**measured, "l2": probe.l2, "fit_seconds": round(probe.seconds, 2)}
