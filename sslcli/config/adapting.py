"""The section of a preset that says which of its numbers follow from the data it is used on."""

from pydantic import Field, model_validator

from sslcli.config.section import Count, Section


class AdaptConfig(Section):
    """What of a preset follows from the training images, once they are known.

    It changes a preset's own numbers alone: what a config file or an option says stands. A run's
    config holds the outcome and has no such section, so a resumed or repeated run does the same.
    """

    images: Count | None = Field(
        default=None,
        description="Images that train.duration is for. Fewer are shown for more epochs, and more "
        "for fewer, so that as many are shown in all.",
    )
    least_epochs: Count | None = Field(
        default=None, description="Fewest epochs, however many images; unset: train.duration."
    )
    most_epochs: Count | None = Field(
        default=None, description="Most epochs, however few images; when unset train.duration."
    )
    least_batches: Count | None = Field(
        default=None,
        description="train.batch_size is halved, to no less than 16, until an epoch has so many.",
    )
    grey: bool = Field(
        default=True,
        description="Leave hue, saturation and greyscale out of views of images without colour.",
    )

    @model_validator(mode="after")
    def _check(self) -> "AdaptConfig":
        if (self.least_epochs or 1) > (self.most_epochs or self.least_epochs or 1):
            raise ValueError("least_epochs must not exceed most_epochs")
        return self
