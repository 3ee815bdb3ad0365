"""The shape of a run's configuration: types, ranges and meaning. The numbers live in presets."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from sslcli.config.duration import Duration
from sslcli.config.methods.labelled import Smoothing
from sslcli.config.methods.registry import MethodConfig
from sslcli.config.optimizers import Optimizer, ScheduleConfig
from sslcli.config.pixels import Pixels
from sslcli.config.section import Column, Count, Fraction, NonNegative, Positive, Section
from sslcli.config.views import Side, TextViewConfig, Triple, ViewConfig

# SimCLR's widest encoder has 256; the bounds keep the product of two sizes within 64 bits.
Width = Annotated[int, Field(ge=1, le=4_096)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]


class AboutConfig(Section):
    """The source of a preset, and the figures that are known of it."""

    summary: str = ""
    paper: str = ""
    published: str = ""
    measured: str = "never run by this project"


class EncoderConfig(Section):
    """The network that is kept.

    `name` is a torchvision ResNet ("resnet18"), a member of the CIFAR family of He et al. 2016,
    section 4.2 ("resnet20", depth 6n + 2), a wide ResNet as "wrn-DEPTH-WIDENING" ("wrn-28-10"), one
    of IGEBM's networks ("igebm-small", "igebm-large"), a vision transformer ("vit-tiny",
    "vit-small", "vit-base", or "vit-DEPTH-WIDTH-HEADS"), one of Exemplar-CNN's ("exemplar-small",
    "exemplar-medium", "exemplar-large"), or any timm model as "timm:NAME".
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
        default=0.0,
        description="Within each block of wide ResNets and IGEBM's networks; behind Exemplar-CNN's "
        "fully connected layer.",
    )
    conv_bias: bool = Field(
        default=True, description="Off in IGEBM's networks when each class has its own bias."
    )
    form: Literal["rosinality", "openai"] = Field(
        default="rosinality",
        description="Of IGEBM's networks: that of rosinality/igebm-pytorch, or the authors' own "
        "(openai/ebm_code_release), with a 3x3 shortcut where widths change alone, biases on the "
        "inputs of convolutions, and a gain behind each block's second one.",
    )
    patch_size: Side | None = Field(
        default=None, description="Side of a vision transformer's patches; when unset 16 pixels."
    )
    positions: Literal["learned", "sin-cos"] = Field(
        default="learned", description="Of vision transformers; the sin-cos table is fixed."
    )
    init: Literal["normal", "xavier"] = Field(
        default="normal", description="Draw of vision transformers: DINO's, or MoCo v3's xavier."
    )
    drop_path: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.0, description="Chance to skip a branch of a vision transformer's last block."
    )
    normalize_features: bool = Field(
        default=False,
        description="Give unit vectors, to the head and to everything after training (SupCon).",
    )
    weights: str | None = Field(
        default=None, description="A .safetensors to start from, loaded strictly."
    )


class SeedsConfig(Section):
    """Train on patches of the images, each chosen by how much it shows (Exemplar-CNN)."""

    count: Count = Field(description="Patches; each is one row of the training data.")
    side: Annotated[int, Field(ge=2, le=1024)] = Field(description="Side of a patch in pixels.")
    surround: Annotated[int, Field(ge=2, le=4096)] = Field(
        description="Side that is kept around it, so that a shift shows image and no border."
    )

    @model_validator(mode="after")
    def _check(self) -> "SeedsConfig":
        if self.surround < self.side:
            raise ValueError("seeds.surround must be at least seeds.side")
        return self


class DataConfig(Section):
    """The training data, and the steps that turn an image into a tensor for evaluation."""

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
    white_point: Annotated[int, Field(ge=1, le=65_535)] = Field(
        default=65_535,
        description="Value that is white in images of sixteen bits: 4095 where twelve are used.",
    )
    holdout: Fraction = Field(
        default=0.2, description="Share held out when neither `source` nor `test` has a test part."
    )
    holdout_seed: Seed = Field(
        default=0,
        description="Decides which images are held out; a run's `seed` has no part in it.",
    )
    validation: Fraction = Field(
        default=0.0,
        description="Share of the training images that pre-training does not see; online kNN asks "
        "for them.",
    )
    seeds: SeedsConfig | None = None
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

    @property
    def pixels(self) -> Pixels:
        """Return the fields that evaluation makes tensors of images by."""
        return Pixels(self.image_size, self.mean, self.std, self.resize)


class TrainConfig(Section):
    """Duration, batches, precision, logging and saving of a training."""

    duration: Duration
    batch_size: Count = Field(description="Global batch: all processes and accumulated parts.")
    accumulate: Count = 1
    chunk_size: Annotated[int, Field(ge=2)] | None = Field(
        default=None,
        description="Embed this many of a process's images at a time, each twice: the gradient of "
        "the whole batch in the memory of a chunk, whose own statistics BatchNorm then uses.",
    )
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
    explosion: NonNegative = Field(
        default=10.0,
        description="Stop above the level of the loss by this many times max(1, |level|), but not "
        "while it comes down from a high start; 0 for never. The level is the first loss, or the "
        "median of all since where that is higher.",
    )
    loss_limit: Positive = Field(
        default=1e8, description="Stop at a loss beyond this, up or down (JEM's code)."
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
        if self.chunk_size and self.compile:
            raise ValueError("chunk_size and compile exclude each other")
        return self


class RecipeConfig(Section):
    """Optimiser, schedule and duration of a classifier's training."""

    duration: Duration
    batch_size: Count
    optimizer: Optimizer
    schedule: ScheduleConfig
    views: tuple[ViewConfig, ...]


class ProtocolConfig(RecipeConfig):
    """Supervised training on top of an encoder: a linear probe or fine-tuning."""

    label_fraction: Annotated[float, Field(gt=0, le=1)] = Field(
        default=1.0, description="Share of each class's labels used."
    )
    label_smoothing: Smoothing = 0.0


class DistillationConfig(RecipeConfig):
    """Training of a student on a teacher's probabilities."""

    temperature: Positive = Field(description="Of student and teacher alike.")
    alpha: Fraction = Field(
        default=1.0, description="Weight of the teacher; the rest is cross-entropy with labels."
    )


class EvaluationConfig(Section):
    """Settings with which checkpoints are evaluated unless an option says otherwise."""

    k: Count
    temperature: Positive
    features: Literal["output", "quadrants"] = Field(
        default="output",
        description="quadrants: every layer's maximum over each quarter (Exemplar-CNN's nets).",
    )
    online_every: Duration | None = Field(
        default=None,
        description="Online kNN of a slice of the training data; of "
        "`data.validation` alone where labels are learned.",
    )
    linear: ProtocolConfig | None = None
    finetune: ProtocolConfig | None = None
    distill: DistillationConfig | None = None


class Config(Section):
    """Everything that decides a run's result."""

    preset: str = ""
    seed: Seed = 0
    about: AboutConfig = AboutConfig()
    method: MethodConfig
    encoder: EncoderConfig
    data: DataConfig
    views: tuple[ViewConfig, ...] = ()
    texts: tuple[TextViewConfig, ...] = ()
    optimizer: Optimizer
    schedule: ScheduleConfig
    train: TrainConfig
    evaluation: EvaluationConfig

    @model_validator(mode="after")
    def _check(self) -> "Config":
        self.check_method()
        return self

    def _check_groups(
        self,
        name: str,
        groups: tuple[ViewConfig, ...] | tuple[TextViewConfig, ...],
        least: int,
        column: Column,
    ) -> None:
        count = sum(group.count for group in groups)
        if count < least:
            raise ValueError(f"{self.method.name} needs at least {least} {name}, got {count}")
        if count and column not in self.method.reads:
            raise ValueError(f"{self.method.name} reads no {column}: set {name} to []")

    def check_method(self) -> None:
        """Raise ValueError if the views, the texts or the batch do not suit the method."""
        if not self.views and not self.texts:
            raise ValueError("there must be views of images, or texts")
        method = self.method
        self._check_groups("views", self.views, method.min_views, "image")
        self._check_groups("texts", self.texts, method.min_texts, "text")
        self.method.check_training(self.train.batch_size, self.train.sync_batch_norm)
        if self.train.chunk_size and not self.method.contrasts_batch:
            raise ValueError(
                f"train.chunk_size is for losses that compare the samples of a batch; "
                f"{self.method.name} has none: use train.accumulate"
            )
