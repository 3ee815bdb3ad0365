"""Sections of the methods that learn from labels alone."""

from typing import Literal

from sslcli.config.method_section import Features, MethodSection


class LinearProbeConfig(MethodSection):
    """A linear classifier on a frozen encoder in evaluation mode."""

    name: Literal["linear-probe"]
    num_classes: Features


class FinetuneConfig(MethodSection):
    """A linear classifier and its encoder, trained together."""

    name: Literal["finetune"]
    num_classes: Features
