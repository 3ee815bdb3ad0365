"""Draw where the class token of a vision transformer looks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sslcli import assemble
from sslcli.data.loader import eval_batches
from sslcli.data.sources.splits import Subset
from sslcli.errors import UsageError
from sslcli.evaluate.finite import need_finite
from sslcli.figures.attention import attention_figure
from sslcli.listener import QUIET, Listener
from sslcli.nn.vit import VisionTransformer
from sslcli.workflows.pictures import figure_path, shown_as
from sslcli.workflows.run import Run, load
from sslcli.workflows.unreadable import Unreadable


@dataclass(frozen=True)
class AttentionResult:
    """The attention of the class token in the last block.

    Attributes:
        path: The figure.
        images: Name of each image.
        maps: Weight of each patch, [N, heads, rows, columns] float32; with that of the token itself
            they sum to 1.
        unreadable: By data set, the images that were left out.
    """

    path: Path
    images: tuple[str, ...]
    maps: np.ndarray
    unreadable: dict[str, Unreadable]

    @property
    def patch_weight_by_head(self) -> list[float]:
        """The mean over images of what all patches weigh together, a number a head."""
        weights = torch.from_numpy(self.maps).sum(dim=(2, 3)).mean(dim=0)
        return [float(weight) for weight in weights]


def attention(
    run: str | Path | Run,
    *,
    count: int = 8,
    out: str | Path | None = None,
    data: str | None = None,
    test: str | None = None,
    encoder: str | None = None,
    preset: str | None = None,
    overrides: Mapping[str, Any] | Sequence[str] = (),
    seed: int | None = None,
    data_root: str | None = None,
    download: bool = False,
    device: str = "auto",
    listener: Listener = QUIET,
) -> AttentionResult:
    """Draw the attention of the class token in a vision transformer's last block, head by head.

    As in Caron et al. 2021 (arXiv:2104.14294), figure 1; computed in float32.

    Args:
        run: A run directory, a checkpoint, or what `load` returned; see `load` for this and for
            `data`, `test`, `overrides`, `seed`, `data_root`, `download`, `device` and `listener`.
        count: Images, drawn from the test part by the seed.
        out: The PNG to write; None for figures/attention.png in the run.
        data: The data set, when not the checkpoint's.
        test: The data to draw images from.
        encoder: The network of weights of another code; see `load`.
        preset: Whose images and protocols suit such weights; see `load`.
        overrides: Changes of the config; {"data.image_size": 448} gives finer maps.
        seed: Instead of the checkpoint's.
        data_root: Folder of torchvision's data sets.
        download: Allow such a set to be fetched.
        device: Where to run.
        listener: Who is told what happens.

    Raises:
        SslError: If the encoder has no class token of ours, the file is to be no PNG, or something
            is missing or does not fit.
    """
    opened = load(
        run, data=data, test=test, data_root=data_root, download=download, overrides=overrides,
        seed=seed, device=device, encoder=encoder, preset=preset, listener=listener,
    )  # fmt: skip
    path = figure_path(opened, out, "attention")
    images, maps, names = _looked_at(opened, count)
    attention_figure(images, maps, path)
    opened.listener.note(f"{len(names)} images, {maps.shape[1]} heads: {path}")
    return AttentionResult(path, names, maps.numpy(), opened.unreadable)


def _looked_at(run: Run, count: int) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """Return images [N, 3, S, S] in [0, 1], their maps [N, heads, rows, columns], and names."""
    encoder, source, data = _transformer(run), run.splits.test, run.config.data
    rows = np.random.default_rng(run.config.seed).permutation(len(source))[:count]
    chosen = Subset(source, np.sort(rows), f"{len(rows)} of {source.name}")
    images, used = next(iter(eval_batches(chosen, data, count, run.device)))
    run.leave_out(chosen, used)
    with torch.inference_mode():
        maps = encoder.cls_attention(images).cpu()
    need_finite(maps, "attention maps", "fp32")
    names = tuple(chosen.describe(row) for row in used.tolist())
    return shown_as(images.cpu(), run.pixels), maps, names


def _transformer(run: Run) -> VisionTransformer:
    encoder = assemble.load_encoder(run.checkpoint, run.device)
    if not isinstance(encoder, VisionTransformer):
        hint = "use a checkpoint whose encoder is vit-small or another of these"
        what = f"{run.config.encoder.name} is no vision transformer of ours"
        raise UsageError(what, str(run.checkpoint.path), hint)
    return encoder
