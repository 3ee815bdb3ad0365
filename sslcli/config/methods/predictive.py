"""Sections of the methods that predict one part of an image from another."""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from sslcli.config.encoder import EncoderConfig, fitting_sizes
from sslcli.config.section import Features, MethodSection, Positive
from sslcli.config.views import ViewConfig

# Above any grid's; a view has 64 patches in a row at most.
Offset = Annotated[int, Field(ge=1, le=64)]


class CPCConfig(MethodSection):
    """The fields of CPC v1 and v2: what predicts which patches from which."""

    contrasts_batch: ClassVar[bool] = True

    context: Literal["pixel", "bolts", "gated"] = Field(
        description="What summarises the rows above: v2's masked convolutions, the same as "
        "lightning-bolts has them, or v1's gated PixelCNN."
    )
    hidden: Features = Field(default=256, description="Inner channels of pixel and bolts.")
    blocks: Annotated[int, Field(ge=1, le=64)] = Field(
        default=5, description="Branches of pixel and bolts, each of which sees one row further up."
    )
    offsets: tuple[Offset, ...] = Field(
        min_length=1,
        description="How many rows below its own a cell predicts; patches that share pixels with "
        "it are refused.",
    )
    directions: Literal[1, 4] = Field(
        default=1, description="Predict down alone, or after each quarter turn of the grid, too."
    )
    shared_context: bool = Field(
        default=True, description="Use one context network for all directions."
    )

    @field_validator("offsets")
    @classmethod
    def _rise(cls, offsets: tuple[int, ...]) -> tuple[int, ...]:
        if list(offsets) != sorted(set(offsets)):
            raise ValueError("offsets must rise, each named once")
        return offsets

    def check_views(self, views: Sequence[ViewConfig], encoder: EncoderConfig) -> None:
        """Raise ValueError if the view is not cut as the encoder cuts, or offsets do not fit it."""
        side, stride = encoder.patch_size, encoder.patch_stride
        if side is None or stride is None:
            return  # the encoder's own check says so
        grid = self._grid(views[0], side, stride)
        clean = -(-side // stride)
        if clean >= grid:
            raise ValueError(
                f"no row of {grid} by {grid} patches is free of pixels of the first: patches of "
                f"{side} pixels every {stride} need views of {side + clean * stride} at least"
            )
        if self.offsets[0] < clean or self.offsets[-1] >= grid:
            raise ValueError(
                f"method.offsets of patches of {side} pixels every {stride}, {grid} in a column, "
                f"lie from {clean}, the first that shares no pixel, to {grid - 1}"
            )

    def _grid(self, view: ViewConfig, side: int, stride: int) -> int:
        """Return the patches in a column of a view."""
        if (cut := view.patches) is not None:
            between = (view.size - cut.side) // (cut.grid - 1)
            if (cut.side, between) != (side, stride):
                raise ValueError(
                    f"views.0 is cut into patches of {cut.side} pixels every {between}, and the "
                    f"encoder's are {side} every {stride}: they must be cut alike"
                )
        elif fits := fitting_sizes(view.size, side, stride):
            raise ValueError(
                f"patches of {side} pixels every {stride} do not cover views of {view.size} "
                f"evenly: views.0.size of {fits[0]} or {fits[1]} would do"
            )
        return (view.size - side) // stride + 1


class CPCV1Config(CPCConfig):
    """CPC (van den Oord et al. 2018, arXiv:1807.03748, section 3.2)."""

    name: Literal["cpc-v1"]
    negatives: Annotated[int, Field(ge=0, le=2**16)] = Field(
        description="Cells of the batch that are drawn for each prediction; 0 takes all, as v2."
    )


class CPCV2Config(CPCConfig):
    """CPC v2 (Henaff et al. 2020, arXiv:1905.09272)."""

    name: Literal["cpc-v2"]
    dim: Features = Field(description="Of predictions and targets.")
    scale: Positive = Field(description="Factor of the predictions.")
