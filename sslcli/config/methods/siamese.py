"""Sections of the methods without negatives: one view's embedding predicts the other's."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from sslcli.config.section import Features, Fraction, MethodSection, NonNegative

Init = Literal["copy", "independent"]


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


class BYOLConfig(MethodSection):
    """BYOL (Grill et al. 2020, arXiv:2006.07733), with the ablations of section 5."""

    min_views: ClassVar[int] = 2

    name: Literal["byol"]
    projector_hidden: Features
    dim: Features
    predictor: Literal["mlp", "linear", "none"] = "mlp"
    predictor_hidden: Features
    momentum: Fraction = Field(description="Of the target at the first step: tau_base.")
    momentum_end: Fraction = Field(
        default=1.0, description="Of the target at the end, on a cosine from `momentum`."
    )
    target_init: Init = Field(
        default="independent",
        description="The target starts as a copy, or as a draw of its own as in the official code.",
    )
    stop_gradient: bool = Field(
        default=True, description="Off: the target is the online network, and learns too."
    )


class LinearPredictorConfig(MethodSection):
    """The fields of DirectPred and DirectCopy: a linear predictor that is set, not trained."""

    min_views: ClassVar[int] = 2

    projector_hidden: Features
    dim: Features
    freq: Annotated[int, Field(ge=0)] = Field(
        default=1,
        description="Steps between two settings of the predictor, which follows its gradient in "
        "between; 0 never sets it: the trained linear predictor.",
    )
    correlation_momentum: Fraction = Field(description="rho, of the correlation's average.")
    epsilon: NonNegative = Field(description="Lifts every eigenvalue of the predictor.")
    target: Literal["ema", "online"] = Field(
        default="ema", description='"online" is the online network without gradient (SimSiam).'
    )
    momentum: Fraction = Field(description="Of an averaged target, constant.")
    target_init: Init = "independent"


class DirectPredConfig(LinearPredictorConfig):
    """DirectPred (Tian et al. 2021, arXiv:2102.06810)."""

    name: Literal["directpred"]
    form: Literal["paper", "code"] = Field(
        default="paper", description="epsilon multiplies max s (eq. 19), or sqrt(max s)."
    )
    constant: Fraction = Field(
        default=0.0,
        description="c of the invariant s = p^2 + c, as a share of max s; the paper takes 0.",
    )
    partitions: Annotated[int, Field(ge=0, le=16)] = Field(
        default=0,
        description="Random directions whose sides each have a predictor; 0 is one for all.",
    )


class DirectCopyConfig(LinearPredictorConfig):
    """DirectCopy (Wang et al. 2021, arXiv:2110.04947)."""

    name: Literal["directcopy"]
    norm: Literal["frobenius", "spectral"] = "frobenius"
