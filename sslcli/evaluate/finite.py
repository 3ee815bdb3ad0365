"""A check that ends an evaluation at values that are not finite, which would count as wrong."""

from torch import Tensor

from sslcli.errors import CheckpointError

_HINTS = {
    "fp16": "fp16 ends at 65,504; take `precision` bf16 or fp32, which go on to 3e38",
    "bf16": "bf16 goes as far as fp32, so no precision helps: training has diverged; "
    "take an earlier checkpoint",
    "fp32": "no precision helps: training has diverged; take an earlier checkpoint",
}


def need_finite(values: Tensor, what: str, precision: str, rows: str = "images") -> None:
    """Raise unless every value is finite.

    Args:
        values: One row an image or a text, [N, ...].
        what: Their name, in the plural.
        precision: Arithmetic that they were computed in: "fp32", "bf16" or "fp16".
        rows: The word for the rows.

    Raises:
        CheckpointError: Naming how many rows are not finite, and which precision would do.
    """
    if bool(values.isfinite().all()):
        return
    bad = int((~values.isfinite()).reshape(len(values), -1).any(dim=1).sum())
    raise CheckpointError(
        f"{what} are not finite for {bad} of {len(values)} {rows} in {precision}",
        "precision",
        _HINTS[precision],
    )
