"""Export the encoder of a checkpoint, or the encoder with its calibrated classifier."""

import torch
from torch import nn

from sslcli.assemble import load_encoder
from sslcli.engine.checkpoint import Checkpoint
from sslcli.evaluate.calibration.stored import calibrated_classifier, stored_calibrator
from sslcli.evaluate.classifier import class_names
from sslcli.formats import ExportMeta


def network_of(checkpoint: Checkpoint, *, classifier: bool) -> nn.Module:
    """Return a checkpoint's encoder on the CPU, followed by its classifier when asked for.

    Raises:
        UsageError: If there is no classifier, or its stored calibrator is no linear one.
    """
    if not classifier:
        return load_encoder(checkpoint, torch.device("cpu"))
    last = calibrated_classifier(checkpoint)
    return nn.Sequential(load_encoder(checkpoint, torch.device("cpu")), last)


def export_meta(checkpoint: Checkpoint, *, classifier: bool) -> ExportMeta:
    """Return what the weights alone do not say."""
    encoder, data = checkpoint.config.encoder, checkpoint.config.data
    stored = stored_calibrator(checkpoint) if classifier else None
    return ExportMeta(
        encoder,
        data.image_size,
        data.mean,
        data.std,
        class_names(checkpoint) if classifier else (),
        stored.calibrator.method if stored else "",
        data.resize,
    )
