"""Sections of the methods that learn from images and their captions."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from sslcli.config.section import Column, Features, LabelledSection, MethodSection, Positive


class CaptionsSection(MethodSection):
    """Base of the sections of methods with a tower of images and one of texts."""

    reads: ClassVar[frozenset[Column]] = frozenset({"image", "text"})
    min_texts: ClassVar[int] = 1
    contrasts_batch: ClassVar[bool] = True
    two_towers: ClassVar[bool] = True
    builtin: ClassVar[str] = "scenes-colour"

    dim: Features = Field(description="Entries of the vectors in which both towers meet.")
    project_image: bool = Field(
        default=True,
        description="Put a linear layer behind the tower of images; off for CLIP's ResNets, whose "
        "pool projects.",
    )
    freeze: Literal["image", "text"] | None = Field(
        default=None, description="The tower whose weights stay as they start (LiT, 2111.07991)."
    )


class CLIPConfig(CaptionsSection):
    """CLIP (Radford et al. 2021, arXiv:2103.00020)."""

    name: Literal["clip"]
    temperature: Positive = Field(description="At the start; it is learned.")
    max_scale: Annotated[float, Field(ge=1)] = Field(
        description="Largest factor of the cosines, one over the smallest temperature."
    )


class SigLIPConfig(CaptionsSection):
    """SigLIP (Zhai et al. 2023, arXiv:2303.15343)."""

    name: Literal["siglip"]
    scale: Positive = Field(description="Factor of the cosines at the start; it is learned.")
    bias: float = Field(description="Added to the scaled cosines, at the start; it is learned.")


class ZeroShotConfig(LabelledSection):
    """A classifier of images that was made of prompts."""

    from_checkpoint: ClassVar[bool] = True

    name: Literal["zero-shot"]
    dim: Features | None = Field(
        default=None, description="Entries of the projection; none where the encoder projects."
    )
