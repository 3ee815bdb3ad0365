"""Compare the similarity of sentences with what people found, as papers on sentences do."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sslcli.data.sources.base import Source
from sslcli.errors import UsageError
from sslcli.evaluate.geometry import alignment, uniformity
from sslcli.evaluate.sts import TaskScore, average, scored, similarities, word_overlap
from sslcli.listener import QUIET, Listener
from sslcli.workflows.changes import Changes
from sslcli.workflows.run import Run, load
from sslcli.workflows.scored_pairs import Asked, asked_pairs, embedded

BUILTIN = "phrases"  # what is asked when no data is named
_ALIGNED = 0.8  # of the highest score: above 4 of STS-B's 5
_OF_GEOMETRY = ("stsb-dev", "stsb")  # the tasks whose pairs are asked, the first that is there


@dataclass(frozen=True)
class STSResult:
    """Correlations of the similarity of sentences with what people found, each from -1 to 1.

    Attributes:
        spearman: Of the one task, or the mean over the seven of the papers' tables; None where
            there are several tasks and not all seven.
        pearson: Of the one task; None where there are several.
        overlap: Spearman of the share of words that two sentences have in common, likewise.
        untrained: Spearman of the encoder with fresh weights, likewise; None unless asked for.
        alignment: Mean squared distance of pairs that people found alike; lower is better.
        uniformity: Log of the mean Gaussian potential of distinct sentences; lower is better.
        n: Pairs with a score.
        protocol: How a sentence's vector is made, and what `alignment` is measured on.
        tasks: Each task by name, such as "sts12", "stsb" or "sickr"; "-dev" and "-train" are no
            part of the mean.
    """

    spearman: float | None
    pearson: float | None
    overlap: float | None
    untrained: float | None
    alignment: float | None
    uniformity: float
    n: int
    protocol: str
    tasks: dict[str, TaskScore] = field(repr=False)

    def as_dict(self) -> dict[str, Any]:
        """Return the numbers and the protocol by name, each task's Spearman by its own."""
        plain = {name: value for name, value in vars(self).items() if name != "tasks"}
        return plain | {name: task.spearman for name, task in self.tasks.items()}

    def tables(self) -> dict[str, dict[str, Any]]:
        """Return every number of each task."""
        return {name: asdict(task) for name, task in self.tasks.items()}


def sts_eval(
    run: str | Path | Run,
    *,
    data: str | None = None,
    baseline: bool = False,
    align_above: float | None = None,
    align_equal: bool = False,
    method: str | None = None,
    encoder: str | None = None,
    preset: str | None = None,
    overrides: Changes = (),
    seed: int | None = None,
    device: str = "auto",
    listener: Listener = QUIET,
) -> STSResult:
    """Correlate the cosines of pairs of sentences with what people found.

    Texts are cut where the encoder's positions end, and computed in float32.

    Args:
        run: A run directory, a checkpoint, or what `load` returned; see `load` for this and for
            `method`, `encoder`, `preset`, `overrides`, `seed`, `device` and `listener`.
        data: Pairs with scores: a folder in SentEval's layout, a file of STS-B or SICK, or a table
            with a score column; None for the test part of the built-in phrases.
        baseline: Also measure the encoder with fresh weights.
        align_above: The score above which a pair counts as alike; None for 4/5 of the highest.
        align_equal: Whether that score itself counts too.
        method: Where the class lies that the checkpoint names.
        encoder: The network of weights of another code.
        preset: Whose texts and protocols suit such weights.
        overrides: Changes of the config.
        seed: Instead of the checkpoint's; of the fresh weights.
        device: Where to run.
        listener: Who is told what happens.

    Raises:
        SslError: If something is missing or does not fit, or the pairs have no scores.
    """
    opened = load(
        run, data=data or BUILTIN, overrides=whole(data, overrides), seed=seed, device=device,
        method=method, encoder=encoder, preset=preset, listener=listener,
    )  # fmt: skip
    asked = asked_of(opened, data)
    vectors, places = _embedded(opened, asked.source, opened.encoder)
    found = similarities(*(vectors[places[:, side]] for side in (0, 1)))
    tasks = {name: scored(found, asked.gold, parts) for name, parts in asked.tasks.items()}
    one = next(iter(tasks.values())) if len(tasks) == 1 else None
    threshold = _threshold(asked.gold, align_above)
    near, spread, of = _geometry(asked, vectors, places, threshold, align_equal)
    return STSResult(
        spearman=one.spearman if one else average(tasks),
        pearson=one.pearson if one else None,
        overlap=_headline(asked, _overlaps(asked.source)),
        untrained=_headline(asked, _untrained(opened, asked.source)) if baseline else None,
        n=len(asked.gold),
        protocol=f"cosine of {pooler_of(opened)}, float32; alignment of {of}",
        tasks=tasks,
        alignment=near,
        uniformity=spread,
    )  # fmt: skip


def whole(data: str | None, overrides: Changes) -> Changes:
    """Return changes of the config by which nothing of named data is held out: all is asked."""
    if data is None:
        return overrides
    if isinstance(overrides, Mapping):
        return {"data.holdout": 0.0, **overrides}
    return ["data.holdout=0", *overrides]


def pooler_of(run: Run) -> str:
    """Say how the run's encoder makes a vector of a sentence."""
    config = run.config
    named = f"the pooler {config.encoder.pooler}" if config.tokenizer else config.encoder.name
    return named if config.evaluation.features == "encoder" else config.evaluation.features


def asked_of(run: Run, data: str | None) -> Asked:
    """Open the pairs and find their tasks.

    Raises:
        SslError: If the encoder reads no texts, or the data has no pairs with scores.
    """
    if run.reads != "text":
        hint = "use a checkpoint of a method of sentences, such as simcse"
        raise UsageError(f"{run.config.encoder.name} reads no sentences", "encoder.name", hint)
    source = run.open(data) if data else run.splits.test
    return asked_pairs(source, "pairs" if data else BUILTIN)


def _embedded(run: Run, source: Source, network: nn.Module) -> tuple[Tensor, Tensor]:
    return embedded(source, lambda texts: run.features(texts, network, precision="fp32").features)


def _untrained(run: Run, source: Source) -> Tensor:
    vectors, places = _embedded(run, source, run.untrained)
    return similarities(vectors[places[:, 0]], vectors[places[:, 1]])


def _overlaps(source: Source) -> Tensor:
    return torch.tensor([word_overlap(*source.pair(row)) for row in range(len(source))]).double()


def _headline(asked: Asked, found: Tensor) -> float | None:
    """Return the Spearman that stands for all tasks, of other similarities of the same pairs."""
    tasks = {name: scored(found, asked.gold, parts) for name, parts in asked.tasks.items()}
    return next(iter(tasks.values())).spearman if len(tasks) == 1 else average(tasks)


def _threshold(gold: Tensor, given: float | None) -> float:
    return _ALIGNED * float(gold.max()) if given is None else given


def _geometry(
    asked: Asked, vectors: Tensor, places: Tensor, threshold: float, is_equal: bool
) -> tuple[float | None, float, str]:
    """Return alignment and uniformity, and what they are measured on.

    Wang & Isola 2020, with the pairs of STS-B's development part where that is there, as SimCSE has
    it; else with all pairs.
    """
    named = next((name for name in _OF_GEOMETRY if name in asked.tasks), None)
    parts = asked.tasks[named].values() if named else [torch.arange(len(asked.gold))]
    rows = torch.cat(list(parts))
    gold = asked.gold[rows]
    is_alike = gold >= threshold if is_equal else gold > threshold
    alike = places[rows[is_alike]]
    near = float(alignment(vectors[alike[:, 0]], vectors[alike[:, 1]])) if len(alike) else None
    sentences = vectors[places[rows].unique()]
    of = f"{len(alike)} pairs {'from' if is_equal else 'above'} {threshold:g}"
    where = f"{of} and uniformity of {len(sentences)} sentences of {named or 'all pairs'}"
    return near, float(uniformity(sentences)), where
