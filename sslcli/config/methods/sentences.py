"""Sections of the methods that learn from sentences: SimCSE, ESimCSE, ConSERT, masked words."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from sslcli.config.encoder import Pooler
from sslcli.config.section import (
    Column,
    Count,
    DataFacts,
    Features,
    Fraction,
    MethodSection,
    NonNegative,
    Positive,
    Section,
    check_classes,
)

_READ_OUT = (
    "How training makes a vector of a sentence; when unset, as evaluations do (encoder.pooler). "
    "cls beside another encoder.pooler is a head that training alone has (mlp_only_train)."
)


class TextSection(MethodSection):
    """Base of the sections of methods that learn from sentences."""

    reads: ClassVar[frozenset[Column]] = frozenset({"text"})
    min_views: ClassVar[int] = 0
    min_texts: ClassVar[int] = 1
    builtin: ClassVar[str] = "phrases"
    contrasts_sentences: ClassVar[bool] = True


class VectorSection(TextSection):
    """Base of the sections of methods that compare vectors of sentences."""

    pooler: Pooler | None = Field(default=None, description=_READ_OUT)
    freeze: bool = Field(
        default=False,
        description="Keep the encoder as it is, dropout aside, and train the head of training "
        "alone (pooler = cls beside another encoder.pooler), which evaluation.features = head "
        "reads.",
    )


class MaskingSection(Section):
    """Fields of hiding words, and what the tokenizer tells about them."""

    mask_probability: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.15, description="Share of the tokens that are hidden (Devlin et al. 2019)."
    )
    vocabulary: Count | None = Field(default=None, description="Filled in by the tokenizer.")
    mask_token: int | None = Field(default=None, description="Filled in by the tokenizer.")
    specials: tuple[int, ...] = Field(default=(), description="Filled in by the tokenizer.")

    def known(self, facts: DataFacts) -> dict[str, object]:
        """Return these fields as the tokenizer tells them."""
        tokens = ("vocabulary", "mask_token", "specials")
        return {name: getattr(facts, name) for name in tokens}


class SimCSEConfig(VectorSection, MaskingSection):
    """SimCSE (Gao et al. 2021, arXiv:2104.08821).

    Two views of a sentence are unsupervised: dropout tells them apart. Views of the sentences 1 and
    2 of a row are supervised pairs, and a third one is a hard negative.
    """

    min_texts: ClassVar[int] = 2
    contrasts_batch: ClassVar[bool] = True

    name: Literal["simcse"]
    temperature: Positive
    hard_weight: Positive = Field(
        default=1.0, description="alpha: how often a row's own hard negative counts (appendix B)."
    )
    mlm_weight: NonNegative = Field(
        default=0.0, description="Weight of a term that guesses hidden words; 0.1 in the paper."
    )

    def complete(self, facts: DataFacts) -> "SimCSEConfig":
        """Return the section with the facts about tokens, which hiding words needs."""
        return self.model_copy(update=self.known(facts)) if self.mlm_weight else self


class ESimCSEConfig(VectorSection):
    """ESimCSE (Wu et al. 2022, arXiv:2109.04380): the second view has words repeated."""

    min_texts: ClassVar[int] = 2
    contrasts_batch: ClassVar[bool] = True

    name: Literal["esimcse"]
    temperature: Positive
    queue: Annotated[int, Field(ge=0, le=2**24)] = Field(
        description="Keys of earlier sentences, over all processes; 0 is SimCSE with repetition."
    )
    momentum: Fraction = Field(description="Of the moving average that makes the keys.")
    empty_queue: bool = Field(
        default=True, description="Begin each epoch with an empty queue, as the official code does."
    )

    def check_training(self, batch_size: int, sync_batch_norm: bool) -> None:
        """Raise ValueError if a step's keys do not fit the queue."""
        if 0 < self.queue < batch_size:
            raise ValueError(f"method.queue must be 0, or at least train.batch_size ({batch_size})")


class NoiseConfig(Section):
    """What ConSERT does to the embeddings of a sentence's tokens (section 3.2.2)."""

    kind: Literal["none", "shuffle", "token_cutoff", "feature_cutoff", "dropout", "adversarial"]
    rate: Fraction | None = Field(default=None, description="Share of what is cut off.")
    step: Positive | None = Field(
        default=None, description="Length of an adversarial step at each token."
    )

    @model_validator(mode="after")
    def _check(self) -> "NoiseConfig":
        cuts = ("token_cutoff", "feature_cutoff", "dropout")
        if (self.rate is not None) != (self.kind in cuts):
            raise ValueError(f"rate goes with {', '.join(cuts)}, which need it")
        if (self.step is not None) != (self.kind == "adversarial"):
            raise ValueError("step goes with adversarial, which needs it")
        return self


class ConSERTConfig(VectorSection):
    """ConSERT (Yan et al. 2021, arXiv:2105.11741): two noises on the embeddings of one sentence.

    `pair_classes` adds its supervised settings (section 3.4): a classifier tells how the second
    sentence of a row relates to the first (NLI).
    """

    name: Literal["consert"]
    temperature: Positive
    weight: NonNegative = Field(description="Of the contrast (cl_rate); 0 is the classifier alone.")
    first: NoiseConfig = Field(description="Of the first view.")
    second: NoiseConfig = Field(description="Of the second view.")
    pair_classes: Features | None = Field(
        default=None, description="Classes of a pair, learned jointly; unset is unsupervised."
    )
    max_square: bool = Field(
        default=False,
        description="Show the classifier the squared maximum of both vectors too, as the code of "
        "the joint setting does.",
    )

    @property
    def contrasts_batch(self) -> bool:  # type: ignore[override]
        """Whether a batch can be embedded in chunks: adversarial noise needs all of it."""
        return "adversarial" not in (self.first.kind, self.second.kind)

    @property
    def learns_labels(self) -> bool:
        """Whether training reads the classes of pairs."""
        return self.pair_classes is not None

    @model_validator(mode="after")
    def _check(self) -> "ConSERTConfig":
        if self.pair_classes is None and not self.weight:
            raise ValueError("weight = 0 leaves nothing to learn without pair_classes")
        if self.pair_classes is None and self.max_square:
            raise ValueError("max_square is for the classifier, which pair_classes asks for")
        return self

    def complete(self, facts: DataFacts) -> "ConSERTConfig":
        """Return the section as it is.

        Raises:
            ConfigError: If pairs are to be classified, and have no classes or another number.
        """
        if self.pair_classes is not None:
            check_classes(self.name, self.pair_classes, facts)
        return self


class MaskedLanguageConfig(TextSection, MaskingSection):
    """Masked-language pre-training (Devlin et al. 2019, arXiv:1810.04805, section 3.1, task 1)."""

    contrasts_sentences: ClassVar[bool] = False

    name: Literal["mlm"]

    def complete(self, facts: DataFacts) -> "MaskedLanguageConfig":
        """Return the section with the facts about tokens."""
        return self.model_copy(update=self.known(facts))
