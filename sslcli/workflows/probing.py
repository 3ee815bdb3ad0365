"""Measure an encoder in training: kNN, a probe, its rank, scored pairs, and pairs of views."""

import numpy as np
import torch
from torch import Tensor, nn

from sslcli.assemble import evaluation_batch, features_of, labels_of, method_read_out, pixels_of
from sslcli.config.duration import Duration
from sslcli.config.families import family_of
from sslcli.config.schema import Config
from sslcli.data.images.views import Views
from sslcli.data.loader import TrainLoader
from sslcli.data.sources.base import Source, labelled
from sslcli.data.sources.splits import Splits, Subset
from sslcli.engine.best import Best
from sslcli.engine.device import Precision
from sslcli.engine.log import Probe
from sslcli.errors import UsageError
from sslcli.evaluate.features import Features, extract
from sslcli.evaluate.geometry import effective_rank
from sslcli.evaluate.knn import evaluate_knn
from sslcli.evaluate.linear import evaluate_linear, fit_linear
from sslcli.methods.base import Method
from sslcli.methods.custom import section_of
from sslcli.workflows.scored_pairs import correlation, development_pairs

ONLINE_BANK, ONLINE_QUERIES = 8_000, 2_000
PAIRS = 4_096
EVERY = Duration("5%")  # where the best is to be kept and the config measures nothing
METRICS = {
    "knn": "online_knn_top1",
    "linear": "online_linear_top1",
    "rank": "online_rank",
    "sts": "online_sts",
}
# Ranks sink where features specialise, too.
FALLS = {"knn": 0.1, "linear": 0.1, "rank": 0.5, "sts": 0.1}
_PENALTIES = (1e-1, 1e-3, 1e-5)  # of the quick probe


def why_no_online_knn(config: Config, splits: Splits) -> str:
    """Return why kNN on training data says nothing about a run; an empty text if it does."""
    labels = labelled(splits.train).labels
    if labels is None or len(np.unique(labels)) < 2:
        return f"{splits.train.name} has no two classes"
    if splits.validation is None and section_of(config).learns_labels:
        seen = f"{config.method.name} learns the labels of all training images"
        return f"{seen}; data.validation=0.1 keeps a tenth of them for it"
    return ""


def check_best(config: Config, splits: Splits) -> None:
    """Raise UsageError when the best encoder is to be told by labels that cannot tell it."""
    best = config.train.best
    if best in ("knn", "linear") and (why := why_no_online_knn(config, splits)):
        hint = "take rank, which needs no labels, or leave `best` out"
        raise UsageError(f"{best} cannot tell the best encoder: {why}", "best", hint)
    pairs = config.evaluation.online_sts
    if best == "sts" and pairs is None:
        hint = "name a file such as STS-B's sts-dev.csv: evaluation.online_sts"
        raise UsageError(
            "sts asks pairs of sentences with scores, and none are named", "best", hint
        )
    if pairs is not None:
        _need_texts(config)
        development_pairs(pairs, config.data)  # which refuses what it cannot take


def _need_texts(config: Config) -> None:
    """Raise UsageError if the encoder reads no sentences."""
    if family_of(config.encoder).reads != "text":
        what = f"{config.encoder.name} reads no sentences"
        raise UsageError(
            what, "evaluation.online_sts", "leave it out, or use a method of sentences"
        )


def online_probe(
    config: Config, splits: Splits, device: torch.device, precision: Precision
) -> Probe | None:
    """Return a probe that measures the encoder on training data; None if nothing is to be measured.

    kNN is measured where the config asks for it and `why_no_online_knn` says nothing against it,
    pairs of sentences where it names some, and what `train.best` names. Queries are the validation
    part, or else a slice that the seed fixes: up to 2,000 against up to 8,000 others. The test part
    stays out of it.
    """
    wanted = _wanted(config, splits)
    if not wanted:
        return None
    bank, queries, num_classes = _slices(config, splits)
    spec = config.evaluation.online_sts
    pairs = development_pairs(spec, config.data) if spec and "sts" in wanted else None

    def features(method: Method, part: Source, arithmetic: Precision = precision) -> Features:
        network = method_read_out(method, config.evaluation.features)
        return features_of(network, part, config, device, arithmetic)

    def measure(method: Method) -> dict[str, float]:
        found = dict[str, float]()
        if pairs is not None:
            found[METRICS["sts"]] = correlation(
                pairs, lambda texts: features(method, texts, "fp32").features
            )
        if wanted == ["sts"]:
            return found
        asked = features(method, queries)
        if "rank" in wanted:
            found[METRICS["rank"]] = float(effective_rank(asked.features))
        if by_labels := [name for name in wanted if name not in ("rank", "sts")]:
            kept = features(method, bank)
            known = (kept.features, labels_of(bank, kept))
            right = (asked.features, labels_of(queries, asked))
            for name in by_labels:
                measured = {"knn": _knn, "linear": _linear}[name]
                found[METRICS[name]] = measured(config, num_classes, *known, *right)
        return found

    return Probe(measure, config.evaluation.online_every or EVERY)


def best_of(config: Config, splits: Splits) -> Best | None:
    """Return what follows the measurement that `train.best` names, else kNN; None without any."""
    wanted = _wanted(config, splits)
    if not wanted:
        return None
    name, train = config.train.best or wanted[0], config.train
    return Best(METRICS[name], FALLS[name], keeps=bool(train.best), patience=train.patience)


def _wanted(config: Config, splits: Splits) -> list[str]:
    """Return what is to be measured on the way."""
    every, best = config.evaluation.online_every, config.train.best
    has_knn = every and not why_no_online_knn(config, splits)
    named = {"knn": has_knn, "sts": every and config.evaluation.online_sts, best: best}
    return [name for name, is_wanted in named.items() if name and is_wanted]


def _slices(config: Config, splits: Splits) -> tuple[Source, Source, int]:
    """Return the rows that are known, those that are asked about, and the number of classes."""
    source = labelled(splits.train)
    asked_of = splits.validation or source
    order, asked = (
        np.random.default_rng(config.seed).permutation(len(x)) for x in (source, asked_of)
    )
    cut = 0 if splits.validation else min(ONLINE_QUERIES, len(source) // 5)
    queries = Subset(asked_of, np.sort(asked[: cut or ONLINE_QUERIES]), "online queries")
    bank = Subset(source, np.sort(order[cut : cut + ONLINE_BANK]), "online bank")
    return bank, queries, len(source.class_names)


def _knn(
    config: Config, num_classes: int, bank: Tensor, known: Tensor, asked: Tensor, right: Tensor
) -> float:
    k = min(config.evaluation.k, len(bank))
    return evaluate_knn(
        bank, known, asked, right, k=k, temperature=config.evaluation.temperature,
        num_classes=num_classes,
    ).top1  # fmt: skip


def _linear(
    config: Config, num_classes: int, bank: Tensor, known: Tensor, asked: Tensor, right: Tensor
) -> float:
    fitted = fit_linear(bank, known, num_classes, regularisers=_PENALTIES, seed=config.seed)
    return evaluate_linear(fitted, asked, right).top1


def embedded_at_once(config: Config, splits: Splits, device: torch.device) -> int:
    """Return how many samples are embedded at a time to measure the encoder on the way; or 0."""
    if not _wanted(config, splits):
        return 0
    return min(evaluation_batch(config.data.image_size, device), len(splits.train))


def paired_features(
    encoder: nn.Module, source: Source, config: Config, device: torch.device, precision: Precision
) -> tuple[Tensor, Tensor]:
    """Return the features of two random views of the same images, each [N, D].

    The views are the config's first two, drawn as in its first epoch; a config of one view shows it
    as in its first two epochs. Up to 4,096 images are used, without those that cannot be read.
    """
    rows = np.random.default_rng(config.seed).permutation(len(source))[:PAIRS]
    views = Views(config.views, pixels_of(config), config.seed)
    loader = TrainLoader(
        Subset(source, np.sort(rows), f"{len(rows)} of {source.name}"),
        config.data,
        views,
        batch_size=min(evaluation_batch(config.data.image_size, device), len(rows)),
        seed=config.seed,
        device=device,
        drop_last=False,
    )
    is_pair = views.num_views > 1
    first, second = (
        extract(
            encoder,
            ((batch.views[which], batch.rows) for batch in loader.epoch(epoch)),
            device=device,
            precision=precision,
        )
        for which, epoch in ((0, 0), (1, 0) if is_pair else (0, 1))
    )
    return _each_once(first), _each_once(second)


def _each_once(found: Features) -> Tensor:
    """Return the features of every row that was read, in their order; stand-ins left out."""
    _, places = np.unique(found.rows.numpy(), return_index=True)
    return found.features[torch.from_numpy(places)]
