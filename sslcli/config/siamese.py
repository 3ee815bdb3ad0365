"""Sections of the methods without negatives: one view's embedding predicts the other's."""

from typing import ClassVar, Literal

from pydantic import Field

from sslcli.config.method_section import Features, MethodSection


class SimSiamConfig(MethodSection):
    """SimSiam (Chen & He 2021, arXiv:2011.10566); each ablation of section 4 is a field."""

    min_views: ClassVar[int] = 2

    name: Literal["simsiam"]
    projector_layers: Literal[2, 3]
    dim: Features
    predictor_hidden: Features
    stop_gradient: bool = True
    predictor: Literal["trained", "fixed", "none"] = "trained"
    constant_predictor_lr: bool = True
    symmetric: bool = True
    similarity: Literal["cosine", "cross-entropy"] = "cosine"
    batch_norm: Literal["none", "hidden", "default", "all"] = Field(
        default="default",
        description="Table 3: hidden layers only, plus the projection's output, or all outputs.",
    )
    output_affine: bool = Field(
        default=False, description="Learned scale and shift in the projection's last BatchNorm."
    )
