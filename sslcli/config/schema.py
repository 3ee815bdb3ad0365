"""The whole of a run's configuration: types, ranges and meaning. The numbers live in presets."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from sslcli.config.adapting import AdaptConfig
from sslcli.config.data import DataConfig
from sslcli.config.duration import Duration
from sslcli.config.encoder import EncoderConfig
from sslcli.config.evaluation import EvaluationConfig
from sslcli.config.methods.registry import MethodConfig
from sslcli.config.optimizers import Optimizer, ScheduleConfig
from sslcli.config.section import Column, Count, NonNegative, Positive, Section, Seed
from sslcli.config.tokenizer import TokenizerConfig
from sslcli.config.views import TextViewConfig, ViewConfig


class AboutConfig(Section):
    """The source of a preset, and the figures that are known of it."""

    summary: str = ""
    paper: str = ""
    published: str = ""
    measured: str = "never run by this project"


Logger = Literal["tensorboard", "wandb", "mlflow", "trackio"]


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
    log: Logger | None = Field(
        default=None, description="Where rows of metrics.jsonl go, too; TensorBoard if it is here."
    )
    best: Literal["knn", "linear", "rank", "sts"] | None = Field(
        default=None,
        description="Keep the weights that measure best on a slice of the training data, too, or, "
        "of sentences, on the pairs of `evaluation.online_sts`.",
    )
    patience: Count | None = Field(
        default=None, description="End after this many measurements without a better one."
    )
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

    @field_validator("patience")
    @classmethod
    def _need_best(cls, patience: int | None, known: Any) -> int | None:
        if patience and not known.data.get("best"):
            raise ValueError("patience needs best: knn, linear, rank or sts")
        return patience

    @model_validator(mode="after")
    def _check(self) -> "TrainConfig":
        if self.duration.unit == "%":
            raise ValueError('duration must be in epochs or steps, such as "100 epochs"')
        if self.batch_size % self.accumulate:
            raise ValueError("batch_size must be divisible by accumulate")
        if self.chunk_size and self.compile:
            raise ValueError("chunk_size and compile exclude each other")
        return self


class Config(Section):
    """Everything that decides a run's result."""

    preset: str = ""
    seed: Seed = 0
    about: AboutConfig = AboutConfig()
    method: MethodConfig
    encoder: EncoderConfig
    text_encoder: EncoderConfig | None = None
    data: DataConfig
    views: tuple[ViewConfig, ...] = ()
    texts: tuple[TextViewConfig, ...] = ()
    tokenizer: TokenizerConfig | None = None
    optimizer: Optimizer
    schedule: ScheduleConfig
    train: TrainConfig
    evaluation: EvaluationConfig
    adapt: AdaptConfig | None = None

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
        """Raise ValueError if the views, the texts or the batch do not suit the method.

        Raises:
            ConfigError: If there are views of images, and `data` does not say their size or scale.
        """
        if not self.views and not self.texts:
            raise ValueError("there must be views of images, or texts")
        method = self.method
        if self.views:
            space = self.data.pixels.space  # refuses what is missing
            if space != "rgb" and any(view.exemplar for view in self.views):
                raise ValueError(f"exemplar changes colours about data.mean, which is of {space}")
        if self.data.lengths == "alike" and (self.views or not self.texts):
            raise ValueError("data.lengths = alike is for methods that read sentences alone")
        self._check_groups("views", self.views, method.min_views, "image")
        self._check_groups("texts", self.texts, method.min_texts, "text")
        if method.two_towers != (self.text_encoder is not None):
            needs = "needs a" if method.two_towers else "has no"
            raise ValueError(f"{method.name} {needs} text_encoder")
        self.method.check_training(self.train.batch_size, self.train.sync_batch_norm)
        self.method.check_views(self.views, self.encoder)
        if self.train.chunk_size and not self.method.contrasts_batch:
            raise ValueError(
                f"train.chunk_size is for losses that compare the samples of a batch by their "
                f"embeddings alone; {self.method.name} has none: use train.accumulate"
            )
