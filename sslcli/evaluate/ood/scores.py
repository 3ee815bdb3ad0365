"""The table of scores: the needs, the fit and the settings of each one.

To add a score, add an entry to `SCORES`.
"""

import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import product

from torch import Tensor

from sslcli.errors import UsageError
from sslcli.evaluate.nearest import Index, build_index
from sslcli.evaluate.ood import activations, distances, logits
from sslcli.evaluate.ood.density import ApproximateMass, LogDensity, OfDensity, Refinement
from sslcli.evaluate.ood.odin import OdinNetwork, odin
from sslcli.evaluate.ood.seen import Known, Seen
from sslcli.evaluate.ood.vim import PrincipalSpace, VirtualLogit

Settings = Mapping[str, int | float]
Scorer = Callable[[Seen], Tensor]
Candidates = Iterator[tuple[Settings, Scorer]]
Need = Callable[[Known], str]


@dataclass(frozen=True)
class Score:
    """One way to tell inside from outside.

    Attributes:
        name: Name by which it is chosen and reported.
        about: Description in one line.
        fit: Takes what is known; yields settings with the function that they make, from a set of
            images to scores [N] float64 that rise towards the inside. The published default comes
            first, then what else it may be tuned to. Raises UsageError when none can apply.
        needs: Conditions; each returns why the score does not apply, or an empty text.
        calibrated: Whether it is of probabilities, which a stored calibrator corrects.
    """

    name: str
    about: str
    fit: Callable[[Known], Candidates]
    needs: tuple[Need, ...] = ()
    calibrated: bool = False

    def why_not(self, known: Known) -> str:
        """Return why the score does not apply; empty when it does."""
        return next((why for need in self.needs if (why := need(known))), "")


def classifier_needed(known: Known) -> str:
    """Return why a score of logits does not apply."""
    if known.classifier is None:
        return "the checkpoint has no linear classifier (finetune and linear-probe runs have one)"
    return ""


def density_needed(known: Known) -> str:
    """Return why a score of log p(x) does not apply."""
    if known.density is None:
        return "the checkpoint's method models no density of images, as energy-based ones do"
    return ""


def pixels_needed(known: Known) -> str:
    """Say why a score that moves pixels does not apply; an empty text if it does."""
    return "" if known.std else "it moves red, green and blue of images, and the network reads none"


def labels_needed(known: Known) -> str:
    """Return why a score of class means does not apply."""
    return "the training images have no labels" if known.train.labels is None else ""


def _logits(seen: Seen) -> Tensor:
    assert seen.logits is not None, "a score's needs are checked before it is fitted"
    return seen.logits


def _of_logits(score: Callable[[Tensor], Tensor]) -> Callable[[Known], Candidates]:
    def fit(known: Known) -> Candidates:
        yield {}, lambda seen: score(_logits(seen))

    return fit


def _of_probabilities(score: Callable[[Tensor], Tensor]) -> Callable[[Known], Candidates]:
    """Score probabilities, as the stored calibrator, if any, corrects them.

    It corrects p(y|x) and not p(x). Scores that read logits as log-densities, or have a temperature
    of their own, take the logits as trained.
    """

    def fit(known: Known) -> Candidates:
        yield {}, lambda seen: score(known.calibrated(_logits(seen)))

    return fit


def _fit_odin(known: Known) -> Candidates:
    assert known.classifier is not None
    assert known.std is not None
    if known.classifier.out_features < 2:
        raise UsageError("a classifier of one class has no other to step away from", "score")
    for temperature, epsilon in product((1000.0, 100.0, 10.0, 1.0), (0.0014, 0.0028)):
        network = OdinNetwork(known.network, known.std, temperature, epsilon)
        settings = {"temperature": temperature, "epsilon": epsilon}
        yield settings, partial(_odin, network)


def _odin(network: OdinNetwork, seen: Seen) -> Tensor:
    return odin(seen.run(network), network.temperature)


def _fit_mahalanobis(known: Known) -> Candidates:
    classes = distances.fit_gaussians(known.train.features, known.train.labels)
    yield {}, lambda seen: distances.mahalanobis(seen.features, classes)


def _fit_relative_mahalanobis(known: Known) -> Candidates:
    train = known.train
    classes, whole = (
        distances.fit_gaussians(train.features, labels) for labels in (train.labels, None)
    )
    yield {}, lambda seen: distances.relative_mahalanobis(seen.features, classes, whole)


def _fit_knn(known: Known) -> Candidates:
    """Try 50, 200 and 1000: the paper's for CIFAR-10, CIFAR-100 and ImageNet."""
    index = build_index(known.train.features)
    for k in [k for k in (50, 200, 1000) if k <= index.size] or [index.size]:
        yield {"k": k}, partial(_neighbour, index, k)


def _neighbour(index: Index, k: int, seen: Seen) -> Tensor:
    return distances.neighbour(seen.features, index, k)


def _fit_vim(known: Known) -> Candidates:
    """Try 256 and 1000 dimensions where the features span more, else half of what they span."""
    assert known.classifier is not None
    train = known.train
    space = PrincipalSpace(train.features, known.classifier)
    for dim in [dim for dim in (256, 1000) if dim < space.rank] or [space.rank // 2]:
        yield {"dim": dim}, partial(_vim, space.fit(train.features, _logits(train), dim))


def _vim(virtual: VirtualLogit, seen: Seen) -> Tensor:
    return virtual.score(seen.features, _logits(seen))


def _fit_react(known: Known) -> Candidates:
    for percentile in (90.0, 85.0, 95.0, 99.0):
        # On held-out images: activations of images that the network was fitted to may differ.
        limit = activations.clipping_threshold(known.validation.features, percentile)
        shape = partial(activations.clip_activations, threshold=limit)
        yield {"percentile": percentile}, partial(_energy_after, known, shape)


def _fit_ash(known: Known) -> Candidates:
    for percentile in (90.0, 65.0, 70.0, 75.0, 80.0, 85.0, 95.0):
        shape = partial(activations.prune_activations, percentile=percentile)
        yield {"percentile": percentile}, partial(_energy_after, known, shape)


def _energy_after(known: Known, shape: Callable[[Tensor], Tensor], seen: Seen) -> Tensor:
    assert known.classifier is not None
    return logits.energy(_logits(seen.with_features(shape(seen.features), known.classifier)))


def _fit_log_p(known: Known) -> Candidates:
    assert known.density is not None
    yield {}, partial(_column, LogDensity(known.density.log_p), 0)


def _fit_mass(known: Known) -> Candidates:
    assert known.density is not None
    yield {}, partial(_column, ApproximateMass(known.density.log_p), 0)


def _fit_refinement(column: int, known: Known) -> Candidates:
    """Both columns come of one run, which is cached."""
    assert known.density is not None
    sampler = known.density.sampler
    settings = {"steps": sampler.steps, "step": sampler.step_size, "noise": sampler.noise}
    yield settings, partial(_column, Refinement(known.density), column)


def _column(network: OfDensity, column: int, seen: Seen) -> Tensor:
    return seen.run(network)[:, column].double()


_LOGITS, _CLASSES, _DENSITY = (classifier_needed,), (labels_needed,), (density_needed,)

SCORES = (
    Score(
        "msp",
        "largest softmax probability",
        _of_probabilities(logits.msp),
        _LOGITS,
        calibrated=True,
    ),
    Score("maxlogit", "largest logit", _of_logits(logits.max_logit), _LOGITS),
    Score("energy", "log sum exp of the logits", _of_logits(logits.energy), _LOGITS),
    Score(
        "entropy",
        "minus the softmax's entropy",
        _of_probabilities(logits.entropy),
        _LOGITS,
        calibrated=True,
    ),
    Score("odin", "softmax after a step of the input", _fit_odin, (*_LOGITS, pixels_needed)),
    Score("mahalanobis", "distance to the nearest class mean", _fit_mahalanobis, _CLASSES),
    Score(
        "relative-mahalanobis",
        "the same, less the distance to all data",
        _fit_relative_mahalanobis,
        _CLASSES,
    ),
    Score("knn", "distance to the k-th nearest training image", _fit_knn),
    Score("vim", "energy less the residual of features", _fit_vim, _LOGITS),
    Score("react", "energy of clipped activations", _fit_react, _LOGITS),
    Score("ash", "energy of the largest activations", _fit_ash, _LOGITS),
    Score("gen", "generalised entropy", _of_probabilities(logits.gen), _LOGITS, calibrated=True),
    Score("log-p", "log density; of a classifier it is its energy score", _fit_log_p, _DENSITY),
    Score("mass", "minus the steepness of log p", _fit_mass, _DENSITY),
    Score("refine", "log p less that after sampling steps", partial(_fit_refinement, 0), _DENSITY),
    Score("refine-distance", "minus the way they go", partial(_fit_refinement, 1), _DENSITY),
)


def named_score(name: str) -> Score:
    """Return a score by its name.

    Raises:
        UsageError: If there is none of that name.
    """
    scores = {score.name: score for score in SCORES}
    if name in scores:
        return scores[name]
    near = difflib.get_close_matches(name, scores, n=1)
    suggestion = f"did you mean {near[0]}? " if near else ""
    raise UsageError(
        f"no score is named {name!r}", "score", f"{suggestion}there are {', '.join(scores)}"
    )
