"""Images of a data set as evaluation crops them, and where a figure of them goes."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sslcli.assemble import evaluation_batch
from sslcli.config.pixels import Pixels
from sslcli.data.evaluation import eval_batches
from sslcli.data.images.color import to_rgb
from sslcli.data.sources.base import Source, Subset
from sslcli.errors import UsageError
from sslcli.workflows.changes import FEW
from sslcli.workflows.run import Run

Picture = NDArray[np.uint8]  # [S, S, 3]


def figure_path(run: Run, out: str | Path | None, name: str) -> Path:
    """Return the PNG to write: `out`, or figures/NAME.png in the run.

    Raises:
        UsageError: If `out` is to be no PNG.
    """
    path = Path(out) if out else run.checkpoint.run / "figures" / f"{name}.png"
    if path.suffix.lower() != ".png":
        raise UsageError(f"{path} is no PNG", "out", "end it in .png")
    return path


def shown_as(inputs: Tensor, pixels: Pixels) -> Tensor:
    """Return what a network takes, [N, 3, S, S], as images in [0, 1] again, clipped."""
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (pixels.mean, pixels.std))
    return to_rgb(inputs * std + mean, pixels.space)


def pictures(run: Run, source: Source, rows: np.ndarray) -> dict[int, Picture]:
    """Return some rows of a source by their number, resized and cropped as the encoder gets them.

    Args:
        run: Says how an image is resized and cropped.
        source: Images.
        rows: Which of them, in any order and as often as may be; unreadable ones are left out.
    """
    wanted = np.unique(rows)
    changes = {"workers": 0} if len(wanted) <= FEW else {}
    data = run.config.data.unscaled().model_copy(update=changes)
    found: dict[int, Picture] = {}
    chosen = Subset(source, wanted, source.name)
    host = torch.device("cpu")
    together = evaluation_batch(data.image_size, host)
    for images, used in eval_batches(chosen, data, together, host):
        shown = images.mul(255).round().byte().permute(0, 2, 3, 1).numpy()
        found |= zip(wanted[used.numpy()].tolist(), shown, strict=True)
    return found
