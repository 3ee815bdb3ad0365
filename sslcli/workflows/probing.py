"""Measure an encoder on parts of its training data: kNN, a probe, its rank, and pairs of views."""

import numpy as np
import torch
from torch import Tensor, nn

from sslcli.assemble import evaluation_batch, features_of, labels_of, method_read_out, pixels_of
from sslcli.config.duration import Duration
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

ONLINE_BANK, ONLINE_QUERIES = 8_000, 2_000
PAIRS = 4_096
EVERY = Duration("5%")  # where the best is to be kept and the config measures nothing
METRICS = {"knn": "online_knn_top1", "linear": "online_linear_top1", "rank": "online_rank"}
FALLS = {"knn": 0.1, "linear": 0.1, "rank": 0.5}  # ranks sink where features specialise, too
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


def online_probe(
    config: Config, splits: Splits, device: torch.device, precision: Precision
) -> Probe | None:
    """Return a probe that measures the encoder on training data; None if nothing is to be measured.

    kNN is measured where the config asks for it and `why_no_online_knn` says nothing against it,
    and what `train.best` names. Queries are the validation part, or else a slice that the seed
    fixes: up to 2,000 against up to 8,000 others. The test part stays out of it.
    """
    wanted = _wanted(config, splits)
    if not wanted:
        return None
    bank, queries, num_classes = _slices(config, splits)

    def features(method: Method, part: Source) -> Features:
        network = method_read_out(method, config.evaluation.features)
        return features_of(network, part, config, device, precision)

    def measure(method: Method) -> dict[str, float]:
        asked, found = features(method, queries), dict[str, float]()
        if "rank" in wanted:
            found[METRICS["rank"]] = float(effective_rank(asked.features))
        if by_labels := [name for name in wanted if name != "rank"]:
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
    has_knn = config.evaluation.online_every and not why_no_online_knn(config, splits)
    best = config.train.best
    return list(dict.fromkeys([*(["knn"] if has_knn else []), *([best] if best else [])]))


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
