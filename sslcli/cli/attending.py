"""Run a vision transformer over some images and draw where its [CLS] token looks."""

from pathlib import Path

import numpy as np
import torch

from sslcli.cli.evaluation import Evaluation
from sslcli.data.loader import eval_batches
from sslcli.data.sources.splits import Subset
from sslcli.errors import UsageError
from sslcli.evaluate.finite import need_finite
from sslcli.figures.attention import attention_figure
from sslcli.nn.vit import VisionTransformer


def draw_attention(evaluation: Evaluation, count: int, out: str | None) -> None:
    """Draw `count` test images and their maps, in float32; see `ssl attention`.

    Raises:
        UsageError: If the encoder has no [CLS] token of ours, or the file is to be no PNG.
    """
    encoder, config, source = evaluation.encoder, evaluation.config, evaluation.splits.test
    path = Path(out) if out else evaluation.checkpoint.run / "figures" / "attention.png"
    if path.suffix.lower() != ".png":
        raise UsageError(f"{path} is no PNG", "--out", "end it in .png")
    if not isinstance(encoder, VisionTransformer):
        hint = "use a checkpoint whose encoder is vit-small or another of these"
        what = f"{config.encoder.name} is no vision transformer of ours"
        raise UsageError(what, str(evaluation.checkpoint.path), hint)
    rows = np.random.default_rng(config.seed).permutation(len(source))[:count]
    chosen = Subset(source, np.sort(rows), f"{len(rows)} of {source.name}")
    images, used = next(iter(eval_batches(chosen, config.data, count, evaluation.device)))
    evaluation.leave_out(chosen, used)
    with torch.inference_mode():
        maps = encoder.cls_attention(images).cpu()
    need_finite(maps, "attention maps", "fp32")
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in (config.data.mean, config.data.std))
    attention_figure((images.cpu() * std + mean).clamp(0, 1), maps, path)
    names = [chosen.describe(row) for row in used.tolist()]
    weights = maps.sum(dim=(2, 3)).mean(dim=0).tolist()
    table = [(head, weight) for head, weight in enumerate(weights, 1)]
    evaluation.show.table("", ("head", "weight of patches"), table)
    evaluation.listener.note(f"{len(names)} images, {len(weights)} heads: {path}")
    evaluation.show.result(
        path=str(path),
        figures=[str(path)],
        images=names,
        patch_weight_by_head=weights,
        unreadable=evaluation.unreadable,
    )
