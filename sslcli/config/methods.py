"""One model a method: the fields its paper and its ablations need. Numbers live in presets."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from sslcli.config.energy import HDGEConfig, IGEBMConfig, JEMConfig, SupervisedConfig
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


class LinearProbeConfig(MethodSection):
    """A linear classifier on a frozen encoder in evaluation mode."""

    name: Literal["linear-probe"]
    num_classes: Features


class FinetuneConfig(MethodSection):
    """A linear classifier and its encoder, trained together."""

    name: Literal["finetune"]
    num_classes: Features


MethodConfig = Annotated[
    SimSiamConfig
    | SupervisedConfig
    | JEMConfig
    | HDGEConfig
    | IGEBMConfig
    | LinearProbeConfig
    | FinetuneConfig,
    Field(discriminator="name"),
]

METHODS: dict[str, type[MethodSection]] = {
    section.model_fields["name"].annotation.__args__[0]: section  # type: ignore[union-attr]
    for section in (
        SimSiamConfig,
        SupervisedConfig,
        JEMConfig,
        HDGEConfig,
        IGEBMConfig,
        LinearProbeConfig,
        FinetuneConfig,
    )
}
