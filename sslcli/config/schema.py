"""The shape of a run's configuration: types, ranges and meaning. The numbers live in presets."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from sslcli.config.duration import Duration
from sslcli.config.methods import MethodConfig
from sslcli.config.optimizers import Optimizer, ScheduleConfig
from sslcli.config.section import Count, Fraction, NonNegative, Positive, Section

# No image has a longer side than the square root of `images.MAX_PIXELS`, about 9,460.
Side = Annotated[int, Field(ge=1, le=16_384)]
# SimCLR's widest encoder has 256; the bounds keep the product of two sizes within 64 bits.
Width = Annotated[int, Field(ge=1, le=4_096)]
Triple = tuple[float, float, float]


class AboutConfig(Section):
    """Where a preset comes from and what is known of it."""

    summary: str = ""
    paper: str = ""
    published: str = ""
    measured: str = "never run by this project"


class EncoderConfig(Section):
    """The network that is kept.

    `name` is a torchvision ResNet ("resnet18"), a member of the CIFAR family of He et al. 2016,
    section 4.2 ("resnet20", depth 6n + 2), a wide ResNet as "wrn-DEPTH-WIDENING" ("wrn-28-10"), one
    of IGEBM's networks ("igebm-small", "igebm-large"), or any timm model as "timm:NAME".
    """

    name: str
    stem: Literal["imagenet", "cifar"] = "imagenet"
    stem_stride: Literal[1, 2] = Field(
        default=1, description="Stride of the CIFAR stem; 2 makes every map four times smaller."
    )
    stem_padding: Literal[1, 2] = Field(
        default=1, description="Padding of the CIFAR stem; solo-learn's published numbers use 2."
    )
    width: Width | None = Field(
        default=None,
        description="Channels of the first stage; when unset 64, or 16 in the CIFAR family.",
    )
    zero_init_residual: bool = False
    norm: Literal["batch", "none"] = Field(default="batch", description="Of wide ResNets.")
    activation: Literal["relu", "leaky-relu", "silu"] = Field(
        default="relu",
        description="Of wide ResNets and IGEBM's networks; leaky-relu has slope 0.2.",
    )
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.0, description="Within each block of wide ResNets and IGEBM's networks."
    )
    conv_bias: bool = Field(
        default=True, description="Off in IGEBM's networks when each class has its own bias."
    )
    weights: str | None = Field(
        default=None, description="A .safetensors to start from, loaded strictly."
    )


class DataConfig(Section):
    """What is trained on, and how an image becomes a tensor when it is evaluated."""

    source: str = "digits"
    test: str | None = Field(default=None, description="Held-out data, when `source` has none.")
    root: str = Field(default="data", description="Folder of torchvision's data sets.")
    download: bool = False
    image_size: Side
    resize: Side | None = Field(
        default=None,
        description="Shorter side before the centre crop to `image_size` in evaluation.",
    )
    mean: Triple
    std: Triple
    holdout: Fraction = Field(
        default=0.2, description="Share held out when neither `source` nor `test` has a test part."
    )
    workers: Annotated[int, Field(ge=0)] | Literal["auto"] = "auto"
    memory_budget_gib: Positive = Field(
        default=1.5, description="Images of one size are kept decoded in memory up to this size."
    )
    max_packed_images: Count = Field(
        default=500_000, description="Larger sets are streamed, not decoded before the first step."
    )
    max_bad_fraction: Fraction = 0.01

    @model_validator(mode="after")
    def _check(self) -> "DataConfig":
        if self.resize is not None and self.resize < self.image_size:
            raise ValueError("resize must be at least image_size")
        return self


class JitterConfig(Section):
    """Colour jitter as torchvision's: four operations in random order."""

    brightness: NonNegative
    contrast: NonNegative
    saturation: NonNegative
    hue: Annotated[float, Field(ge=0, le=0.5)]
    probability: Fraction


class BlurConfig(Section):
    """Gaussian blur; `kernel` in pixels, or "auto" for a tenth of the size, made odd."""

    probability: Fraction
    sigma: tuple[Positive, Positive]
    kernel: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"


class SolarizeConfig(Section):
    """Invert every value at or above `threshold` (images in [0, 1])."""

    probability: Fraction
    threshold: Fraction


Operation = Literal["crop", "jitter", "grayscale", "blur", "solarize", "flip"]


class ViewConfig(Section):
    """`count` views of one recipe; `order` is the order of execution."""

    count: Count
    size: Side
    crop_scale: tuple[Fraction, Fraction]
    crop_ratio: tuple[Positive, Positive] = (3 / 4, 4 / 3)
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    flip: Fraction = 0.0
    jitter: JitterConfig | None = None
    grayscale: Fraction = 0.0
    blur: BlurConfig | None = None
    solarize: SolarizeConfig | None = None
    order: tuple[Operation, ...] = ("crop", "jitter", "grayscale", "blur", "solarize", "flip")

    @model_validator(mode="after")
    def _check(self) -> "ViewConfig":
        if self.order[:1] != ("crop",) or len(set(self.order)) != len(self.order):
            raise ValueError("order must begin with crop and name each operation at most once")
        used = {"jitter": self.jitter, "blur": self.blur, "solarize": self.solarize,
                "grayscale": self.grayscale, "flip": self.flip}  # fmt: skip
        if missing := [name for name, value in used.items() if value and name not in self.order]:
            raise ValueError(f"order leaves out {', '.join(missing)}, which this view asks for")
        for name in ("crop_scale", "crop_ratio"):
            low, high = getattr(self, name)
            if low > high or high == 0:
                raise ValueError(f"{name} must rise from its first to its second number")
        if self.blur and self.blur.sigma[0] > self.blur.sigma[1]:
            raise ValueError("blur.sigma must rise from its first to its second number")
        if self.blur and self.blur.kernel != "auto" and self.blur.kernel % 2 == 0:
            raise ValueError("blur.kernel must be odd")
        return self


class TrainConfig(Section):
    """How long, in what batches, with what arithmetic; what is logged and saved when."""

    duration: Duration
    batch_size: Count = Field(description="Global batch: all processes and accumulated parts.")
    accumulate: Count = 1
    drop_last: bool = True
    precision: Literal["auto", "bf16", "fp16", "fp32"] = "auto"
    channels_last: bool = True
    compile: bool = False
    sync_batch_norm: bool = Field(
        default=True, description="Take BatchNorm's statistics over all processes."
    )
    log_every: Duration = Duration("50 steps")
    checkpoint_every: Duration = Duration("1 epochs")
    keep: Count = Field(default=2, description="Resumable states kept.")
    on_collapse: Literal["warn", "stop"] = "warn"
    explosion: Positive = Field(
        default=10.0, description="Stop above the first loss by this many times max(1, |it|)."
    )
    rollbacks: Annotated[int, Field(ge=0)] = Field(
        default=0, description="Returns to a state before, with other noise, of an unhealthy run."
    )

    @model_validator(mode="after")
    def _check(self) -> "TrainConfig":
        if self.duration.endswith("%"):
            raise ValueError('duration must be in epochs or steps, such as "100 epochs"')
        if self.batch_size % self.accumulate:
            raise ValueError("batch_size must be divisible by accumulate")
        return self


class ProtocolConfig(Section):
    """Supervised training on top of an encoder: a linear probe or fine-tuning."""

    duration: Duration
    batch_size: Count
    optimizer: Optimizer
    schedule: ScheduleConfig
    views: tuple[ViewConfig, ...]
    label_fraction: Annotated[float, Field(gt=0, le=1)] = Field(
        default=1.0, description="Share of each class's labels used."
    )


class EvaluationConfig(Section):
    """How checkpoints of this preset are evaluated unless an option says otherwise."""

    k: Count
    temperature: Positive
    online_every: Duration | None = Field(
        default=None, description="Online kNN on a held-out slice of the training data."
    )
    linear: ProtocolConfig | None = None
    finetune: ProtocolConfig | None = None


class Config(Section):
    """Everything that decides a run's result."""

    preset: str = ""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    about: AboutConfig = AboutConfig()
    method: MethodConfig
    encoder: EncoderConfig
    data: DataConfig
    views: Annotated[tuple[ViewConfig, ...], Field(min_length=1)]
    optimizer: Optimizer
    schedule: ScheduleConfig
    train: TrainConfig
    evaluation: EvaluationConfig

    @model_validator(mode="after")
    def _check(self) -> "Config":
        views = sum(view.count for view in self.views)
        if views < self.method.min_views:
            raise ValueError(
                f"{self.method.name} needs at least {self.method.min_views} views, got {views}"
            )
        return self
