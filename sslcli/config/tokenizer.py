"""The section `tokenizer`: what turns sentences into numbers."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from sslcli.config.section import Section

LEARNED = ("words", "wordpiece")  # kinds that are made of the training data


class TokenizerConfig(Section):
    """The tokenizer of a config's texts; without this section, a text is its bytes."""

    kind: Literal["words", "wordpiece", "own", "file", "clip"] = Field(
        description="The words of the training data, pieces of words learned from it, the one that "
        "came with the weights that the encoder starts from, that in `file`, or CLIP's, which the "
        "extra `clip` holds."
    )
    size: Annotated[int, Field(ge=64, le=2**20)] | None = Field(
        default=None, description="Most numbers for tokens that words and wordpiece may use."
    )
    file: str | None = Field(
        default=None, description="A tokenizer.json, or a Hugging Face folder with one."
    )
    digest: str = Field(
        default="", description="Of the tokenizer that the run keeps; filled in at its start."
    )

    @model_validator(mode="after")
    def _check(self) -> "TokenizerConfig":
        if (self.kind in LEARNED) != (self.size is not None):
            raise ValueError(f"size goes with the kinds {' and '.join(LEARNED)}, and with no other")
        if (self.kind == "file") != (self.file is not None):
            raise ValueError('file goes with kind = "file", and with no other')
        return self
