"""Draw samples as a grid, a row a class, and the energies of chains over their steps."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from sslcli.figures.canvas import COLOURS, drawn

Pixels = NDArray[np.uint8]

COLUMNS = 16
_CELL, _GAP, _LETTER, _LONGEST = 64, 3, 8, 24  # pixels, and letters of a name
_DPI = 100
_CHAINS, _REAL = COLOURS[:2]


def sample_grid(groups: Mapping[str, Float[Tensor, "_ 3 height width"]], path: Path) -> None:
    """Draw images pixel by pixel, small ones enlarged without smoothing; a group begins a row.

    One group makes a square, several make rows of 16 images at most.

    Args:
        groups: Images in [0, 1] under the name that stands at their first row; "" for none.
        path: The file to write, always a PNG.

    Raises:
        ValueError: If there is no image.
    """
    sizes = [len(images) for images in groups.values()]
    if not sum(sizes):
        raise ValueError("a grid needs at least one image")
    columns = math.ceil(sizes[0] ** 0.5) if len(sizes) == 1 else min(max(sizes), COLUMNS)
    names, rows = [], []
    for name, images in groups.items():
        for first in range(0, len(images), columns):
            names.append("" if first else _short(name))
            rows.append(_row(images[first : first + columns], columns))
    _write(np.concatenate(rows), names, path)


def energy_trajectory(
    energies: Float[Tensor, "steps chains"],
    real: Float[Tensor, " images"] | None,
    label: str,
    path: Path,
) -> None:
    """Draw the median and the quantiles of chains' energies before each step.

    Args:
        energies: In nats, finite.
        real: Energies of real images, drawn as lines; None for none.
        label: What the energy is, for the axis.
        path: The file to write, always a PNG.

    Raises:
        ValueError: If there is no step or no chain.
    """
    if not energies.numel():
        raise ValueError("a trajectory needs at least one step of one chain")
    levels = torch.tensor([0.05, 0.25, 0.5, 0.75, 0.95], dtype=torch.float64)
    low, lower, middle, upper, high = energies.double().quantile(levels, dim=1).numpy()
    steps = np.arange(len(energies))
    with drawn(path, (9.0, 5.0), _DPI) as figure:
        axes = figure.add_subplot()
        axes.plot(steps, middle, color=_CHAINS, label=f"median of {energies.shape[1]:,} chains")
        axes.fill_between(steps, lower, upper, color=_CHAINS, alpha=0.35, lw=0, label="25 to 75 %")
        axes.fill_between(steps, low, high, color=_CHAINS, alpha=0.18, lw=0, label="5 to 95 %")
        if real is not None:
            low, middle, high = real.double().quantile(levels[[0, 2, 4]]).tolist()
            what = f"median of {len(real):,} training images"
            axes.axhline(middle, color=_REAL, linestyle="--", label=what)
            for level, name in ((low, "5 and 95 %"), (high, None)):
                axes.axhline(level, color=_REAL, linestyle=":", label=name)
        axes.set(xlabel="SGLD step", ylabel=label)
        axes.margins(x=0.01)
        figure.legend(loc="outside upper center", ncols=2)


def _row(images: Tensor, columns: int) -> Pixels:
    """Return images beside each other, [H, W, 3], with white gaps and white where none is."""
    scale = max(1, _CELL // max(images.shape[2:]))
    pixels = images.clamp(0, 1).mul(255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    tiles = pixels.repeat(scale, axis=1).repeat(scale, axis=2)
    tiles = np.pad(tiles, ((0, columns - len(tiles)), *((0, _GAP),) * 2, (0, 0)), **_WHITE)
    whole: Pixels = tiles.transpose(1, 0, 2, 3).reshape(tiles.shape[1], -1, 3)
    return whole


_WHITE: dict[str, Any] = {"mode": "constant", "constant_values": 255}


def _write(grid: Pixels, names: list[str], path: Path) -> None:
    """Write a grid of equally high rows, with the rows' names on its left."""
    longest = max(map(len, names))
    margin = _LETTER * (longest + 2) if longest else _GAP
    height, width = grid.shape[0] + _GAP, grid.shape[1] + margin
    with drawn(path, (width / _DPI, height / _DPI), _DPI) as figure:
        figure.set_layout_engine("none")
        figure.figimage(grid, margin, 0, origin="upper")  # never resampled
        for index, name in enumerate(names):
            middle = _GAP + grid.shape[0] / len(names) * (index + 0.5)
            figure.text(
                (margin - _LETTER) / width, 1 - middle / height, name,
                ha="right", va="center", fontsize=9, parse_math=False,
            )  # fmt: skip


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 3]}..."
