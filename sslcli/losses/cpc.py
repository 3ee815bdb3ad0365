"""The losses of CPC: find the patch that lies some rows below among others.

Predictions and targets are grids of vectors, [B, D, H, W], taken as they are; scores are inner
products in float32 at least. For many processes gather the targets with their gradient first
(`distributed.collective.gather_with_gradient`) and say where the own images begin among them.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sslcli.losses.inner_cross_entropy import Found, inner_cross_entropy


def grid_info_nce(
    predictions: Float[Tensor, "batch dim height width"],
    targets: Float[Tensor, "all dim height width"],
    offset: int,
    first: int = 0,
) -> Float[Tensor, ""]:
    """Find each row's target `offset` rows below among all targets (CPC v2, arXiv:1905.09272).

    The candidates are the cells of all rows of all images. The caller scales the predictions.

    Args:
        predictions: What each cell expects below it, [B, D, H, W].
        targets: Of the images of all processes, [A, D, H, W].
        offset: Rows from the cell to its target, from 1 to H - 1.
        first: Place among the targets of the first image of `predictions`: rank * B.

    Returns:
        Scalar mean over the H - offset upper rows, in nats; ln(A H W) when all scores are equal.

    Raises:
        ValueError: If no row has a target.
    """
    return grid_found(predictions, targets, offset, first).loss


def drawn_info_nce(
    predictions: Float[Tensor, "batch dim height width"],
    targets: Float[Tensor, "all dim height width"],
    drawn: Int[Tensor, "positions draws"],
    offset: int,
    first: int = 0,
) -> Float[Tensor, ""]:
    """Find each row's target among drawn ones (CPC v1, arXiv:1807.03748, eq. 4).

    Args:
        predictions: As in `grid_info_nce`.
        targets: As in `grid_info_nce`.
        drawn: For each predicting cell (image, row, column), m indices into the targets of the rows
            from `offset` on, numbered in the same order, [B (H - offset) W, m]; the own target may
            be among them.
        offset: As in `grid_info_nce`.
        first: As in `grid_info_nce`.

    Returns:
        Scalar mean over the H - offset upper rows, in nats; ln(1 + m) when all scores are equal.

    Raises:
        ValueError: If no row has a target.
    """
    return drawn_found(predictions, targets, drawn, offset, first).loss


def grid_found(predictions: Tensor, targets: Tensor, offset: int, first: int = 0) -> Found:
    """Return the loss of `grid_info_nce`, and the share of cells whose target is found."""
    upper = _cells(_upper(predictions, offset))
    cells = targets.shape[2] * targets.shape[3]
    places = torch.arange(first * cells, (first + len(predictions)) * cells, device=upper.device)
    own = places.view(len(predictions), *targets.shape[2:])[:, offset:].flatten()
    return inner_cross_entropy(upper, _cells(targets), own)


def drawn_found(
    predictions: Tensor, targets: Tensor, drawn: Tensor, offset: int, first: int = 0
) -> Found:
    """Return the loss of `drawn_info_nce`, and the share of cells whose target is found."""
    upper, lower = _cells(_upper(predictions, offset)), _cells(targets[:, :, offset:])
    start = first * lower.shape[0] // len(targets)
    own = torch.arange(start, start + len(upper), device=upper.device)
    return inner_cross_entropy(upper, lower, own, drawn)


def _upper(predictions: Tensor, offset: int) -> Tensor:
    """Return the rows that have a target."""
    rows = predictions.shape[2]
    if not 0 < offset < rows:
        raise ValueError(f"an offset of {offset} rows does not fit a grid of {rows}")
    return predictions[:, :, : rows - offset]


def _cells(grid: Tensor) -> Tensor:
    """Return the vectors of a grid in the order (image, row, column), [B H W, D]."""
    return grid.permute(0, 2, 3, 1).flatten(0, 2)
