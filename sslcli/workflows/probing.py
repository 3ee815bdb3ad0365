"""Measure an encoder on parts of its training data: online kNN, and pairs of views."""

import numpy as np
import torch
from torch import Tensor, nn

from sslcli.assemble import EVALUATION_BATCH, features_of, labels_of
from sslcli.config.schema import Config
from sslcli.data.images.views import Views
from sslcli.data.loader import TrainLoader
from sslcli.data.sources.base import Source, labelled
from sslcli.data.sources.splits import Splits, Subset
from sslcli.engine.device import Precision
from sslcli.engine.log import Probe
from sslcli.evaluate.features import extract
from sslcli.evaluate.knn import evaluate_knn
from sslcli.methods.base import Method
from sslcli.methods.custom import section_of

ONLINE_BANK, ONLINE_QUERIES = 8_000, 2_000
PAIRS = 4_096


def why_no_online_knn(config: Config, splits: Splits) -> str:
    """Return why kNN on training data says nothing about a run; an empty text if it does."""
    labels = labelled(splits.train).labels
    if labels is None or len(np.unique(labels)) < 2:
        return f"{splits.train.name} has no two classes"
    if splits.validation is None and section_of(config).learns_labels:
        seen = f"{config.method.name} learns the labels of all training images"
        return f"{seen}; data.validation=0.1 keeps a tenth of them for it"
    return ""


def online_knn(
    config: Config, splits: Splits, device: torch.device, precision: Precision
) -> Probe | None:
    """Return a probe that measures kNN on training data.

    It is None where the config asks for none, or `why_no_online_knn` says why there is none.

    Queries are the validation part, or else a slice that the seed fixes: up to 2,000 against up to
    8,000 others. The test part stays out of it.
    """
    every = config.evaluation.online_every
    if not every or why_no_online_knn(config, splits):
        return None
    source = labelled(splits.train)
    asked_of = splits.validation or source
    order, asked = (
        np.random.default_rng(config.seed).permutation(len(x)) for x in (source, asked_of)
    )
    cut = 0 if splits.validation else min(ONLINE_QUERIES, len(source) // 5)
    queries = Subset(asked_of, np.sort(asked[: cut or ONLINE_QUERIES]), "online queries")
    bank = Subset(source, np.sort(order[cut : cut + ONLINE_BANK]), "online bank")
    wanted = min(config.evaluation.k, len(bank))

    def measure(method: Method) -> dict[str, float]:
        kept, asked = (
            features_of(method.encoder, part, config, device, precision) for part in (bank, queries)
        )
        measured = evaluate_knn(
            kept.features,
            labels_of(bank, kept),
            asked.features,
            labels_of(queries, asked),
            k=wanted,
            temperature=config.evaluation.temperature,
            num_classes=len(source.class_names),
        )
        return {"online_knn_top1": measured.top1}

    return Probe(measure, every)


def paired_features(
    encoder: nn.Module, source: Source, config: Config, device: torch.device, precision: Precision
) -> tuple[Tensor, Tensor]:
    """Return the features of two random views of the same images, each [N, D].

    The views are the config's first two, drawn as in its first epoch; a config of one view shows it
    as in its first two epochs. Up to 4,096 images are used.
    """
    rows = np.random.default_rng(config.seed).permutation(len(source))[:PAIRS]
    views = Views(config.views, config.data.pixels, config.seed)
    loader = TrainLoader(
        Subset(source, np.sort(rows), f"{len(rows)} of {source.name}"),
        config.data,
        views,
        batch_size=min(EVALUATION_BATCH, len(rows)),
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
    order = [found.rows.argsort() for found in (first, second)]
    return first.features[order[0]], second.features[order[1]]
