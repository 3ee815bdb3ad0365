"""The section of weights that another code has trained: an encoder, and nothing to train it by."""

from typing import ClassVar, Literal

from sslcli.config.section import Column, MethodSection


class ImportedConfig(MethodSection):
    """An encoder from elsewhere, without the heads and the loss that trained it."""

    from_checkpoint: ClassVar[bool] = True
    reads: ClassVar[frozenset[Column]] = frozenset({"image", "text"})  # what its encoder does
    min_views: ClassVar[int] = 0

    name: Literal["imported"]
