"""Fit a linear classifier on cached features: multinomial logistic regression.

Each feature is standardised by the training set's mean and deviation, and the L2 penalty acts on
the weights of standardised features. Its strength is chosen on a tenth of the training set, class
by class, never on test data; the probe is then fitted on the whole training set.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from sslcli.data.order import stratified
from sslcli.errors import UsageError
from sslcli.evaluate.logistic import Problem, Solution, Solver, solve
from sslcli.evaluate.metrics import (
    Accuracy,
    accuracy,
    check_features,
    check_labels,
    check_two_classes,
    ranking,
)

REGULARISERS = (1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
_HELD_OUT = 0.1
_UNTRIED = 1e-2  # the penalty when no class has a second sample
_ROUGH, _FINE = 1e-5, 1e-7  # nats an iteration: enough to rank penalties; the final fit


@dataclass(frozen=True)
class Probe:
    """A linear classifier of raw features.

    Attributes:
        weight: [C, D], for features that are not standardised.
        bias: [C].
        l2: The penalty used, in mean cross-entropy + l2 / 2 * |weight|^2.
        validation: Held-out accuracy of every penalty tried; empty when none was compared.
        seconds: Wall-clock time of choice and fit.
        protocol: How the probe was made, in one line.
    """

    weight: Float[Tensor, "classes dim"]
    bias: Float[Tensor, " classes"]
    l2: float
    validation: dict[float, float]
    seconds: float
    protocol: str


def fit_linear(
    train: Float[Tensor, "n dim"],
    labels: Int[Tensor, " n"],
    num_classes: int,
    *,
    solver: Solver = "lbfgs",
    regularisers: Sequence[float] = REGULARISERS,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Probe:
    """Choose the penalty on a split of the training set, then fit on all of it.

    Of penalties with equal accuracy the one with the lower held-out cross-entropy wins.

    Args:
        train: Raw features; the probe is fitted on their device.
        labels: Classes in [0, num_classes).
        num_classes: C.
        solver: "lbfgs" until convergence, or "sgd" for sets that are far larger.
        regularisers: Penalties to try, all positive.
        seed: Decides the split, and the order of SGD.
        progress: Called with the fits done and their number.

    Raises:
        DataError: If the set is empty or of one class only.
        UsageError: If a feature is not finite or a penalty not positive.
    """
    begin = time.perf_counter()
    _check(train, labels, num_classes, regularisers)
    mean, deviation = _moments(train)
    problem = Problem.of((train - mean) / deviation, labels, num_classes)
    penalties = sorted(set(regularisers), reverse=True)
    kept, held = _split(labels, seed)
    l2, chosen, how = penalties[0], problem.start(), "given"
    validation: dict[float, float] = {}
    if len(penalties) > 1 and len(held):
        fits = problem.part(kept), problem.part(held)
        l2, chosen, validation = _sweep(*fits, penalties, solver, seed, progress)
        how = f"the best of {len(penalties)} on {len(held)} held-out training samples"
    elif len(penalties) > 1:
        l2, how = _UNTRIED, "not chosen, since no class has two samples"
    solution = solve(problem, l2, chosen, solver, tolerance=_FINE, seed=seed)
    if progress:
        progress(len(penalties) + 1, len(penalties) + 1)
    weight = problem.weight(solution).double() / deviation
    bias = solution.bias.double() - weight @ mean.double()
    protocol = f"logistic regression on {len(train)} frozen features, {solver}, l2={l2:g} ({how})"
    seconds = time.perf_counter() - begin
    return Probe(weight.float(), bias.float(), l2, validation, seconds, protocol)


def predict_logits(
    probe: Probe, features: Float[Tensor, "batch dim"]
) -> Float[Tensor, "batch classes"]:
    """Return the probe's scores of raw features; softmax makes them probabilities."""
    return functional.linear(features, probe.weight, probe.bias)


def evaluate_linear(
    probe: Probe, test: Float[Tensor, "batch dim"], labels: Int[Tensor, " batch"]
) -> Accuracy:
    """Return the probe's accuracy on raw test features."""
    num_classes = len(probe.bias)
    check_features("test", test)
    check_labels("test", test, labels, num_classes)
    return accuracy(ranking(predict_logits(probe, test)), labels, num_classes, probe.protocol)


def _sweep(
    train: Problem,
    held: Problem,
    penalties: Sequence[float],
    solver: Solver,
    seed: int,
    progress: Callable[[int, int], None] | None,
) -> tuple[float, Solution, dict[float, float]]:
    """Fit from strong to weak penalties; each fit starts from the one before."""
    solution, best, validation = train.start(), (-1.0, 0.0), {}
    l2, chosen = penalties[0], solution
    for done, penalty in enumerate(penalties, start=1):
        solution = solve(train, penalty, solution, solver, tolerance=_ROUGH, seed=seed)
        validation[penalty], nats = held.judge(solution)
        if (validation[penalty], -nats) > best:
            best, l2, chosen = (validation[penalty], -nats), penalty, solution
        if progress:
            progress(done, len(penalties) + 1)
    return l2, chosen, validation


def _split(labels: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Hold out a tenth of each class, at least one of two samples; every class keeps one."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(labels), generator=generator)
    groups = labels.cpu()
    chosen = torch.from_numpy(stratified(groups.numpy(), _HELD_OUT, order.argsort().numpy()))
    rows = order[groups[order].argsort(stable=True)]  # class by class
    is_held = chosen[rows]
    return rows[~is_held].to(labels.device), rows[is_held].to(labels.device)


def _moments(features: Tensor) -> tuple[Tensor, Tensor]:
    deviation, mean = torch.std_mean(features, dim=0, correction=0)
    # A feature that varies only by rounding is constant: it is centred, but not scaled.
    constant = deviation <= 1e-6 * (mean.abs() + deviation.max())
    return mean, deviation.masked_fill(constant, 1.0)


def _check(train: Tensor, labels: Tensor, num_classes: int, regularisers: Sequence[float]) -> None:
    check_features("training", train)
    check_labels("training", train, labels, num_classes)
    check_two_classes("training", labels)
    if not regularisers or any(not 0 < each < math.inf for each in regularisers):
        raise UsageError(
            f"the penalties must be positive, got {', '.join(map(str, regularisers)) or 'none'}"
        )
