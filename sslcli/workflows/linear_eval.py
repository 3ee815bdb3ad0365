"""Train a linear classifier on a frozen encoder, on cached features or by the papers' recipe."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from torch import nn

from sslcli.data.sources.base import need_labels
from sslcli.engine.checkpoint import load_checkpoint
from sslcli.engine.stop import Stop, seconds
from sslcli.errors import UsageError
from sslcli.evaluate.few_shot import FewShots
from sslcli.evaluate.metrics import Accuracy
from sslcli.evaluate.seeds import Summary, repeat
from sslcli.listener import QUIET, Listener
from sslcli.workflows.changes import Changes, Tower, laid_under, read_out
from sslcli.workflows.place import Place
from sslcli.workflows.probes import FeatureProbe, PaperProbe, Solver, features_of
from sslcli.workflows.rates import Rate
from sslcli.workflows.recipes import protocol_of
from sslcli.workflows.run import Run, load
from sslcli.workflows.training import device_of, expect_one, taking_part
from sslcli.workflows.transfer import AVERAGED, Repeated

_PIXELS = 64  # a side, of images whose raw pixels are probed
Protocol = Literal["features", "paper"]


@dataclass(frozen=True)
class LinearResult(Repeated, Accuracy):
    """Accuracy of the linear classifier on the test part.

    Attributes:
        l2: Penalty on the squared weights; None by the papers' recipe.
        fit_seconds: How long the fit took; None by the papers' recipe.
        run: Folder of the training by the papers' recipe, the first seed's when there are several.
        top1_untrained: Accuracy on the features of the encoder with fresh weights, if asked for.
        top1_pixels: The same on normalised pixels, where an image has few enough.
        over_draws: Accuracies from few labels over their draws, such as top1/5-shot; empty unless
            asked for.
        rate: The base rate that was chosen among several.
        rates: What each of several rates reached.
    """

    l2: float | None = None
    fit_seconds: float | None = None
    run: Path | None = None
    top1_untrained: float | None = None
    top1_pixels: float | None = None
    over_draws: dict[str, Summary] = field(default_factory=dict, repr=False)
    rate: float | None = None
    rates: tuple[Rate, ...] = field(default=(), repr=False)

    def as_dict(self) -> dict[str, Any]:
        """Return every number by name, means over draws too."""
        return super().as_dict() | {name: each.mean for name, each in self.over_draws.items()}


def linear_eval(
    run: str | Path | Run,
    *,
    data: str | None = None,
    test: str | None = None,
    protocol: Protocol = "features",
    solver: Solver = "lbfgs",
    baseline: bool = False,
    shots: Sequence[int] = (),
    draws: int = 10,
    layers: str | None = None,
    tower: Tower | None = None,
    rates: Sequence[float] = (),
    method: str | None = None,
    encoder: str | None = None,
    preset: str | None = None,
    overrides: Mapping[str, Any] | Sequence[str] = (),
    seed: int | None = None,
    seeds: Sequence[int] | None = None,
    data_root: str | None = None,
    download: bool = False,
    resume: bool = False,
    max_time: str | float | None = None,
    devices: int = 1,
    device: str = "auto",
    precision: str | None = None,
    fit: bool = False,
    listener: Listener = QUIET,
) -> LinearResult:
    """Train a linear classifier on the frozen encoder and test it.

    With the protocol "features", L-BFGS chooses its penalty on a tenth of the training images; the
    test images are looked at once. The protocol "paper" is the config's evaluation.linear: SGD on
    augmented images, in the folder "linear-probe" beside the checkpoint.

    Args:
        run: A run directory, a checkpoint, or what `load` returned; see `load` for this and for
            `data`, `test`, `method`, `overrides`, `seed`, `device`, `precision`, `data_root`,
            `download` and `listener`.
        data: The data set, when not the checkpoint's.
        test: The data to test on.
        protocol: "features" or "paper".
        solver: "lbfgs" or "sgd", for the protocol "features".
        baseline: Also measure the untrained encoder, and raw pixels of up to 64 a side.
        shots: Also fit to so many training images of each class, drawn by the config's seed; for
            the protocol "features".
        draws: Draws of each number of shots.
        layers: What is read out of the network, such as "last-4"; None for the config's
            `evaluation.linear_features`.
        tower: The tower that is evaluated, of a method with one of images and one of texts, with
            its projection; None for the encoder. For the
            protocol "features".
        rates: Base rates to train with side by side, for the protocol "paper"; the best on a tenth
            of the training images is taken, as it learned from the others.
        method: The class of a checkpoint whose method is a user's own.
        encoder: The network of weights of another code; see `load`.
        preset: Whose images and protocols suit such weights; see `load`.
        overrides: Changes of the config.
        seed: Instead of the checkpoint's.
        seeds: Repeat over these seeds; accuracies are then means.
        data_root: Folder of torchvision's data sets.
        download: Allow such a set to be fetched.
        resume: Go on with the training by the protocol "paper".
        max_time: When to stop that with its state saved: seconds, or a text such as "3h55m".
        devices: No more than 1; several need the command line or torchrun.
        device: Where to run.
        precision: Instead of the checkpoint's.
        fit: Change the recipe of the protocol "paper" by the least that makes it fit the free
            memory.
        listener: Who is told what happens.

    Raises:
        SslError: If something is missing or does not fit, the loss is not finite, or time is up.
        KeyboardInterrupt: On Ctrl-C, once the state is saved.
    """
    expect_one(devices)
    few = FewShots(tuple(shots), draws)
    only_paper = {"resume": resume, "max_time": max_time is not None, "rates": bool(rates)}
    check_tower(protocol, tower)
    check_protocol(protocol, few, fit=fit, **only_paper)
    check_rates(run, rates, encoder, preset)
    stop = Stop(seconds(max_time))
    with taking_part(device_of(run, device), listener.note) as where:
        opened = load(
            run, data=data, test=test, data_root=data_root, download=download,
            overrides=with_probe(overrides, layers, rates, tower), seed=seed, device=str(where),
            precision=precision, method=method,
            encoder=encoder, preset=preset, listener=listener,
        )  # fmt: skip
        place = Place(str(opened.checkpoint.run / "linear-probe"), resume, overwrite=not resume)
        probe: Callable[[int], Mapping[str, Any]] = FeatureProbe(opened, solver)
        if protocol == "paper":
            probe = PaperProbe(opened, place, stop, seeds or (), fit=fit)
        return measure(opened, probe, solver, seeds or (), few, baseline=baseline)


def check_rates(run: str | Path | Run, rates: Sequence[float], *foreign: str | None) -> None:
    """Raise SslError if there are rates, and the checkpoint has no recipe that they could change.

    Args:
        run: A run directory, a checkpoint, or what `load` returned.
        rates: The rates that were given.
        foreign: Encoder and preset of weights from elsewhere, which come without a config.
    """
    if rates and not any(foreign):
        config = run.config if isinstance(run, Run) else load_checkpoint(str(run)).config
        protocol_of(config, "linear-probe")


def with_probe(
    overrides: Changes, layers: str | None, rates: Sequence[float], tower: Tower | None = None
) -> Changes:
    """Return changes of the config with what is read out and the rates before them, if given."""
    fields = {
        "evaluation.features": read_out(None, tower),
        "evaluation.linear_features": read_out(layers, tower),
        "evaluation.linear.rates": [float(rate) for rate in rates] or None,
    }
    return laid_under(fields, overrides)


def check_tower(protocol: Protocol, tower: Tower | None) -> None:
    """Raise UsageError when a tower is to be probed on augmented images."""
    if protocol == "paper" and tower:
        raise UsageError("this is for `protocol` features", "tower", "leave out one of them")


def check_protocol(protocol: Protocol, few: FewShots, **only_paper: bool) -> None:
    """Raise UsageError when something is given that only the other protocol has."""
    if protocol == "paper" and few.counts:
        raise UsageError("this is for `protocol` features", "shots", "leave out one of them")
    given = [name for name, is_given in only_paper.items() if is_given]
    if protocol == "features" and given:
        hint = "add it, or leave this out"
        raise UsageError("this is for `protocol` paper", ", ".join(given), hint)


def measure(
    run: Run,
    probe: Callable[[int], Mapping[str, Any]],
    solver: Solver,
    seeds: Sequence[int],
    few: FewShots,
    *,
    baseline: bool,
) -> LinearResult:
    """Fit a probe once, or once a seed, those it is compared with, and probes of few labels."""
    train = run.splits.train
    few.check(need_labels(train), train.class_names)
    found, summaries = repeat(probe, seeds, run.config.seed, AVERAGED)
    if baseline:
        fresh = FeatureProbe(run, solver, run.fresh(features_of(run)))(run.config.seed)
        found["top1_untrained"] = fresh["top1"]
        found["top1_pixels"] = _on_pixels(run, solver)
    if few.counts:
        found["over_draws"] = FeatureProbe(run, solver).few_shots(few)
    return LinearResult(**found, over_seeds=summaries)


def _on_pixels(run: Run, solver: Solver) -> float | None:
    """Return the accuracy of a probe on raw pixels; None where a fit would take hours."""
    side = run.config.data.image_size
    if side is None or side > _PIXELS:
        run.listener.note(f"no probe of raw pixels, as images are not up to {_PIXELS} a side")
        return None
    return float(FeatureProbe(run, solver, nn.Flatten())(run.config.seed)["top1"])
