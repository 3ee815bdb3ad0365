"""Join the outputs of a step that is made in parts, and note what such a step changes."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from sslcli.config.schema import TrainConfig
from sslcli.methods.base import BatchContrast, Method, Output


def joined(outputs: Sequence[Output], weights: Sequence[float]) -> Output:
    """Join the outputs of a step's parts into one, without a graph.

    Args:
        outputs: The output of each part.
        weights: Weights of losses and metrics; see `Batch.weight`.
    """
    first = outputs[0]
    embeddings = [output.embeddings for output in outputs if output.embeddings is not None]
    chances = [output.chance for output in outputs if output.chance is not None]
    return Output(
        _mean([output.loss.detach() for output in outputs], weights),
        {name: _mean([o.metrics[name] for o in outputs], weights) for name in first.metrics},
        {name: _cat([output.carry[name] for output in outputs]) for name in first.carry},
        _cat(embeddings) if embeddings else None,
        sum(map(float.__mul__, chances, weights)) / sum(weights) if chances else None,
    )


def _mean(values: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    pairs = zip(values, weights, strict=True)
    weighted = [value if weight == 1 else value * weight for value, weight in pairs]
    return weighted[0] if len(weighted) == 1 else torch.stack(weighted).mean()


def _cat(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


def accumulation_note(method: Method, train: TrainConfig, rows: str = "images") -> str:
    """Say how a step in parts of `rows` differs from a step at once; empty if it does not."""
    named = list(method.over_batch)
    if any(isinstance(module, _BatchNorm) and module.training for module in method.modules()):
        named.append("BatchNorm's statistics")
    if train.accumulate == 1 or not named:
        return ""
    size = train.batch_size // train.accumulate
    note = f"train.accumulate = {train.accumulate}: {', '.join(named)} are those of "
    note += f"{size} {rows}, not of all {train.batch_size} of a step"
    exact = "; train.chunk_size keeps the negatives" if isinstance(method, BatchContrast) else ""
    return note + exact
