"""The calibrator in a checkpoint's description, and the images that it was fitted on."""

from typing import Any

from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor, nn

from sslcli.engine.checkpoint import Checkpoint
from sslcli.errors import CheckpointError
from sslcli.evaluate.calibration.calibrators import Calibrator
from sslcli.evaluate.classifier import logits_of, need_classifier

FACT = "calibrator"  # its name among a checkpoint's facts


class FittedOn(BaseModel):
    """The images that a calibrator was fitted on.

    Attributes:
        data: Name of the data set.
        fingerprint: Of the data set that the images are part of.
        n: Number of images.
        share: Share of each class that was fitted on; None for the whole data set.
        seed: Seed that chose the share.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    data: str
    fingerprint: str
    n: int = Field(ge=1)
    share: float | None = Field(default=None, gt=0, lt=1)
    seed: int | None = None


class StoredCalibrator(BaseModel):
    """A calibrator and the images that it was fitted on, as a checkpoint keeps them."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    calibrator: Calibrator
    fitted: FittedOn

    def facts(self) -> dict[str, Any]:
        """Return its facts for a result: all but isotonic curves, which are too long for a line."""
        return self.model_dump(mode="json", exclude={"calibrator": {"knots"}})


def stored_calibrator(checkpoint: Checkpoint) -> StoredCalibrator | None:
    """Return the calibrator of a checkpoint, or None when none was stored.

    The calibrator is part of the checkpoint's file, so it always stays with its own weights.

    Raises:
        CheckpointError: If it cannot be read.
    """
    if FACT not in checkpoint.facts:
        return None
    try:
        return StoredCalibrator.model_validate(checkpoint.facts[FACT])
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"]))
        what = f"the stored calibrator cannot be read: {field}: {first['msg']}"
        hint = "calibrate again, and let the new one replace it"
        raise CheckpointError(what, str(checkpoint.path), hint) from error


def calibrated_classifier(checkpoint: Checkpoint) -> nn.Linear:
    """Return a checkpoint's classifier [C, D] with the stored calibrator, if any, folded into it.

    Raises:
        UsageError: If there is no classifier, or the calibrator does not fold; see `folded`.
        CheckpointError: If the calibrator cannot be read.
    """
    classifier, stored = need_classifier(checkpoint), stored_calibrator(checkpoint)
    return stored.calibrator.folded(classifier) if stored else classifier


def probabilities_of(
    checkpoint: Checkpoint, features: Float[Tensor, "batch dim"]
) -> Float[Tensor, "batch classes"]:
    """Return the classifier's probabilities, float64, calibrated when a calibrator is stored.

    Raises:
        UsageError: If there is no classifier.
        CheckpointError: If the calibrator cannot be read.
    """
    logits, stored = logits_of(need_classifier(checkpoint), features), stored_calibrator(checkpoint)
    if stored is None:
        return logits.softmax(dim=1)
    return stored.calibrator.log_probabilities(logits).exp()
