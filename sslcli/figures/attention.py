"""Draw images with the attention maps of a vision transformer beside them."""

from pathlib import Path

import numpy as np
from jaxtyping import Float
from torch import Tensor

from sslcli.figures.canvas import drawn

_INCH = 1.3  # side of a panel


def attention_figure(
    images: Float[Tensor, "batch 3 height width"],
    maps: Float[Tensor, "batch heads rows columns"],
    path: Path,
) -> None:
    """Write a PNG with a row an image: the image, the mean of the heads, then each head.

    Pixels and patches are enlarged without smoothing. Every map is stretched from 0, dark, to its
    own largest weight, light, which stands below it in percent.

    Args:
        images: In [0, 1].
        maps: Weight of each patch, as `VisionTransformer.cls_attention` gives it.
        path: The file to write.
    """
    shown = np.concatenate([maps.mean(dim=1, keepdim=True).numpy(), maps.numpy()], axis=1)
    titles = ["image", "mean", *(f"head {head}" for head in range(1, shown.shape[1]))]
    size = (_INCH * len(titles), (_INCH + 0.2) * len(images) + 0.3)
    with drawn(path, size) as figure:
        panels = figure.subplots(len(images), len(titles), squeeze=False)
        for row, image, weights in zip(panels, images, shown, strict=True):
            row[0].imshow(image.permute(1, 2, 0).numpy(), interpolation="nearest")
            for panel, weight in zip(row[1:], weights, strict=True):
                panel.imshow(weight, interpolation="nearest", vmin=0, cmap="viridis")
                panel.set_xlabel(f"{weight.max():.0%}", fontsize=7, labelpad=2)
            for panel in row:
                panel.set(xticks=[], yticks=[])
                panel.grid(visible=False)
        for panel, title in zip(panels[0], titles, strict=True):
            panel.set_title(title, fontsize=9, loc="center")
