"""Classify the test images of a run by a vote of the nearest training images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from sslcli.config.section import Column
from sslcli.data.sources.base import need_labels, noun
from sslcli.engine.device import Precision
from sslcli.evaluate.few_shot import FewShots
from sslcli.evaluate.geometry import alignment, effective_rank, uniformity
from sslcli.evaluate.knn import KNNAccuracy, evaluate_knn
from sslcli.evaluate.metrics import Accuracy, shown
from sslcli.evaluate.seeds import Summary
from sslcli.listener import QUIET, Bar, Listener
from sslcli.workflows.changes import Tower, laid_under, read_out
from sslcli.workflows.probing import paired_features
from sslcli.workflows.run import Run, load


@dataclass(frozen=True)
class KNNResult(KNNAccuracy):
    """Accuracy of the vote, and of the baselines that were asked for.

    Attributes:
        top1_untrained: Of the encoder with fresh weights.
        top1_pixels: Of the vote on normalised pixels; None for an encoder that reads none.
        alignment: Mean squared distance of two random views of an image; lower is better.
        uniformity: Log of the mean Gaussian potential of the features (Wang & Isola 2020).
        effective_rank: exp of the entropy of the singular values (Roy & Vetterli 2007).
        over_draws: Accuracies from few labels over their draws, such as top1/5-shot; empty unless
            asked for.
    """

    top1_untrained: float | None = None
    top1_pixels: float | None = None
    alignment: float | None = None
    uniformity: float | None = None
    effective_rank: float | None = None
    over_draws: dict[str, Summary] = field(default_factory=dict, repr=False)

    def as_dict(self) -> dict[str, Any]:
        """Return the numbers and the protocol by name, means over draws too."""
        return shown(self) | {name: each.mean for name, each in self.over_draws.items()}


def knn_eval(
    run: str | Path | Run,
    *,
    data: str | None = None,
    test: str | None = None,
    k: int | None = None,
    temperature: float | None = None,
    baseline: bool = False,
    geometry: bool = False,
    shots: Sequence[int] = (),
    draws: int = 10,
    layers: str | None = None,
    tower: Tower | None = None,
    method: str | None = None,
    encoder: str | None = None,
    preset: str | None = None,
    overrides: Mapping[str, Any] | Sequence[str] = (),
    seed: int | None = None,
    device: str = "auto",
    precision: str | None = None,
    data_root: str | None = None,
    download: bool = False,
    listener: Listener = QUIET,
) -> KNNResult:
    """Classify the test images by a vote of the nearest training images.

    Features are L2-normalised; each of the k neighbours votes with exp(cosine / T) (Wu et al. 2018,
    arXiv:1805.01978, section 3.4).

    Args:
        run: A run directory, a checkpoint, or what `load` returned; see `load` for this and for
            `data`, `test`, `overrides`, `seed`, `device`, `precision`, `data_root`, `download`
            and `listener`.
        data: The data set, when not the checkpoint's.
        test: The data to test on.
        k: Neighbours that vote; None for the preset's, as far as there are images.
        temperature: T of the votes; None for the preset's.
        baseline: Also measure the untrained encoder and raw pixels.
        geometry: Also measure alignment, uniformity and effective rank on two random views.
        shots: Also vote with so many training images of each class, drawn by the seed.
        draws: Draws of each number of shots.
        layers: What is read out of the network, such as "head" or "last-4"; None for the config's
            `evaluation.features`.
        tower: The tower that is evaluated, of a method with one of images and one of texts, with
            its projection; None for the encoder.
        method: Where the class lies that the checkpoint names; see `load`.
        encoder: The network of weights of another code; see `load`.
        preset: Whose images and protocols suit such weights; see `load`.
        overrides: Changes of the config.
        seed: Instead of the checkpoint's.
        device: Where to run.
        precision: Instead of the checkpoint's.
        data_root: Folder of torchvision's data sets.
        download: Allow such a set to be fetched.
        listener: Who is told what happens.

    Raises:
        SslError: If something is missing, does not fit, or was learned with its labels.
    """
    changes = laid_under({"evaluation.features": read_out(layers, tower)}, overrides)
    opened = load(
        run, data=data, test=test, data_root=data_root, download=download, overrides=changes,
        seed=seed, device=device, precision=precision, method=method,
        encoder=encoder, preset=preset, listener=listener,
    )  # fmt: skip
    if geometry:
        _ = opened.pixels  # refuses an encoder without views to compare, before all else
    settings, few = opened.config.evaluation, FewShots(tuple(shots), draws)
    few.check(need_labels(opened.splits.train), opened.splits.train.class_names)
    given, bar = k, opened.listener.bar("voting")
    k, temperature = _neighbours(opened, k), temperature or settings.temperature
    found: dict[str, Any] = dict(vars(vote(opened, k, temperature, bar)))
    found["classes"] = opened.splits.train.class_names
    if baseline:
        fresh = vote(opened, k, temperature, bar, opened.untrained)
        found |= {"top1_untrained": fresh.top1, "top1_pixels": _of_pixels(opened, k, temperature)}
    if geometry:
        found |= _geometry(opened)
    if few.counts:
        found["over_draws"] = _few_shots(opened, few, given, temperature)
    return KNNResult(**found)


def vote(
    run: Run,
    k: int,
    temperature: float,
    bar: Bar | None = None,
    network: nn.Module | None = None,
    reads: Column | None = None,
) -> KNNAccuracy:
    """Return the accuracy of the weighted vote on the test part, on features of what it `reads`."""
    precision: Precision | None = "fp32" if isinstance(network, nn.Flatten) else None
    train, labels = run.labelled_features(run.splits.train, network, precision, reads)
    test, right = run.labelled_features(run.splits.test, network, precision, reads)
    wants_all = k == len(run.splits.train)  # that can be read
    return evaluate_knn(
        train, labels, test, right,
        k=len(train) if wants_all else k, temperature=temperature,
        num_classes=len(run.splits.train.class_names), device=run.device,
        progress=bar,
    )  # fmt: skip


def _few_shots(
    run: Run, few: FewShots, given: int | None, temperature: float
) -> dict[str, Summary]:
    """Return the accuracies of votes of few images; the preset's k goes as far as they do."""
    splits = run.splits
    train, labels = run.labelled_features(splits.train)
    test, right = run.labelled_features(splits.test)
    preset, num_classes = run.config.evaluation.k, len(splits.train.class_names)

    def measure(rows: Tensor) -> Accuracy:
        return evaluate_knn(
            train[rows], labels[rows], test, right, num_classes=num_classes,
            k=given or min(preset, len(rows)), temperature=temperature,
        )  # fmt: skip

    few.check(labels.numpy(), splits.train.class_names)  # of those that can be read
    return few.measure(labels, run.config.seed, measure, run.listener.bar("drawing few labels"))


def _of_pixels(run: Run, k: int, temperature: float) -> float | None:
    """Return the accuracy of the vote on raw pixels; None for an encoder that reads none."""
    if run.reads == "image":
        return vote(run, k, temperature, network=nn.Flatten(), reads="image").top1
    run.listener.note(f"no baseline of raw pixels: the encoder reads {noun(run.splits.test)}")
    return None


def _geometry(run: Run) -> dict[str, float]:
    """Return how the test images lie on the sphere; all but alignment is of the first views."""
    first, second = paired_features(
        run.encoder, run.splits.test, run.config, run.device, run.precision
    )
    return {
        "alignment": float(alignment(first, second)),
        "uniformity": float(uniformity(first)),
        "effective_rank": float(effective_rank(first)),
    }


def _neighbours(run: Run, given: int | None) -> int:
    """Return how many neighbours vote: what was asked for, else the preset's as far as they go."""
    train, preset = run.splits.train, run.config.evaluation.k
    rows = len(train)
    if given or preset <= rows:
        return given or preset
    run.listener.warn(f"k is {rows}, all training {noun(train)} there are; the preset has {preset}")
    return rows
