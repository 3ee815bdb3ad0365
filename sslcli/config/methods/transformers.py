"""Sections of the methods that came with vision transformers: MoCo v3 and DINO."""

from typing import ClassVar, Literal

from pydantic import Field

from sslcli.config.duration import Duration
from sslcli.config.section import Features, Fraction, MethodSection, Positive


class MoCoV3Config(MethodSection):
    """MoCo v3 (Chen et al. 2021, arXiv:2104.02057); each ablation of section 4 is a field."""

    min_views: ClassVar[int] = 2
    contrasts_batch: ClassVar[bool] = True

    name: Literal["moco-v3"]
    projector_layers: Literal[2, 3]
    hidden: Features
    dim: Features
    temperature: Positive
    momentum: Fraction
    momentum_end: Fraction = Field(
        default=1.0, description="Cosine from momentum to this value over the run."
    )
    predictor: Literal["trained", "none"] = "trained"
    predictor_output_norm: bool = Field(
        default=False, description="BatchNorm after the prediction; the authors have it with ViTs."
    )
    freeze_patches: bool = Field(
        default=False, description="Keep a vision transformer's random patch projection."
    )


class DINOConfig(MethodSection):
    """DINO (Caron et al. 2021, arXiv:2104.14294): the first two views are the teacher's."""

    min_views: ClassVar[int] = 2

    name: Literal["dino"]
    hidden: Features
    bottleneck: Features
    head_norm: bool = Field(
        default=False, description="BatchNorm in the head's hidden layers, for small networks."
    )
    prototypes: Features = Field(description="Outputs K, over which the softmax is taken.")
    normed_prototypes: bool = Field(
        default=True, description="Prototypes of length 1; otherwise their lengths are learned."
    )
    freeze_prototypes: Duration = Field(description="The prototypes stay still for this long.")
    student_temperature: Positive
    teacher_temperature: Positive
    teacher_temperature_start: Positive | None = Field(
        default=None, description="The teacher's temperature rises from here; unset is constant."
    )
    teacher_temperature_warmup: Duration = Field(
        default=Duration("0 epochs"), description="How long it rises."
    )
    momentum: Fraction
    momentum_end: Fraction = Field(
        default=1.0, description="Cosine from momentum to this value over the run."
    )
    center_momentum: Fraction
    centring: bool = Field(
        default=True, description="Subtract the running mean of the teacher's outputs."
    )
    sharpening: bool = Field(
        default=True, description="Off gives the teacher the student's temperature."
    )
