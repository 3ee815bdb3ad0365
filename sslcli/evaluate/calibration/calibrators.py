"""Maps from a classifier's logits to calibrated ones: fitted, applied, and kept as JSON."""

from abc import ABC, abstractmethod
from typing import Annotated, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from sslcli.errors import UsageError
from sslcli.evaluate.calibration.temperature import check_logits, fit_temperature
from sslcli.evaluate.calibration.vector_scaling import fit_vector


class _Calibrator(BaseModel, ABC):
    """Base of the calibrators: numbers only, so that JSON holds them whole."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def log_probabilities(self, logits: Float[Tensor, "n classes"]) -> Float[Tensor, "n classes"]:
        """Return the calibrated log-probabilities, float64."""
        return self.calibrated(logits.double()).log_softmax(dim=1)

    @abstractmethod
    def calibrated(self, logits: Float[Tensor, "n classes"]) -> Float[Tensor, "n classes"]:
        """Return logits whose softmax is calibrated."""

    @abstractmethod
    def folded(self, classifier: nn.Linear) -> nn.Linear:
        """Return a linear classifier that gives the calibrated logits by itself.

        Raises:
            UsageError: If no linear classifier can.
        """


class Temperature(_Calibrator):
    """Divide all logits by one number; neither ranking nor accuracy change (Guo et al. 2017)."""

    method: Literal["temperature"] = "temperature"
    temperature: float = Field(gt=0)

    @classmethod
    def fit(cls, logits: Float[Tensor, "n classes"], labels: Int[Tensor, " n"]) -> "Temperature":
        """Fit; see `fit_temperature`."""
        return cls(temperature=fit_temperature(logits, labels))

    def calibrated(self, logits: Float[Tensor, "n classes"]) -> Float[Tensor, "n classes"]:
        """Return logits / T."""
        return logits / self.temperature

    def folded(self, classifier: nn.Linear) -> nn.Linear:
        """Return the classifier with weight / T and bias / T."""
        return _linear(classifier.weight / self.temperature, classifier.bias / self.temperature)


class Vector(_Calibrator):
    """Scale and shift each class's logit; the ranking may change (Guo et al. 2017, 4.2)."""

    method: Literal["vector"] = "vector"
    scale: tuple[float, ...]
    shift: tuple[float, ...]

    @classmethod
    def fit(cls, logits: Float[Tensor, "n classes"], labels: Int[Tensor, " n"]) -> "Vector":
        """Fit; see `fit_vector`."""
        scale, shift = fit_vector(logits, labels)
        return cls(scale=tuple(scale.tolist()), shift=tuple(shift.tolist()))

    def calibrated(self, logits: Float[Tensor, "n classes"]) -> Float[Tensor, "n classes"]:
        """Return scale * logits + shift."""
        return logits * logits.new_tensor(self.scale) + logits.new_tensor(self.shift)

    def folded(self, classifier: nn.Linear) -> nn.Linear:
        """Return the classifier with each class's row scaled, and its bias scaled and shifted."""
        weight, bias = classifier.weight, classifier.bias
        scale, shift = weight.new_tensor(self.scale), weight.new_tensor(self.shift)
        return _linear(scale[:, None] * weight, scale * bias + shift)


class Isotonic(_Calibrator):
    """Map each class's probability by a rising curve of its own, then normalise.

    Zadrozny & Elkan 2002 (KDD, section 4): one class against the rest. The curve is the least
    squares one, linear between its knots and level beyond them. Where it is 0, the class gets an
    equal part of one image in n + 2 instead, since a probability of 0 would make the negative
    log-likelihood infinite. The ranking may change, and classes may tie.

    Attributes:
        knots: For each class, the probabilities and the heights of its curve.
        floor: Least height.
    """

    method: Literal["isotonic"] = "isotonic"
    knots: tuple[tuple[tuple[float, ...], tuple[float, ...]], ...]
    floor: float = Field(gt=0)

    @classmethod
    def fit(cls, logits: Float[Tensor, "n classes"], labels: Int[Tensor, " n"]) -> "Isotonic":
        """Fit one curve a class.

        Raises:
            ValueError: If a logit is not finite, a label no class, or there is no sample.
        """
        from sklearn.isotonic import IsotonicRegression  # noqa: PLC0415  half a second

        check_logits(logits, labels)
        knots = []
        for index, column in enumerate(logits.double().softmax(dim=1).cpu().unbind(dim=1)):
            curve = IsotonicRegression(y_min=0, y_max=1)
            curve.fit(column.numpy(), (labels == index).cpu().numpy().astype(np.float64))
            knots.append((tuple(curve.X_thresholds_.tolist()), tuple(curve.y_thresholds_.tolist())))
        return cls(knots=tuple(knots), floor=1 / ((len(labels) + 2) * logits.shape[1]))

    def calibrated(self, logits: Float[Tensor, "n classes"]) -> Float[Tensor, "n classes"]:
        """Return the logarithm of the curves' heights."""
        probabilities = logits.double().softmax(dim=1).cpu().numpy()
        heights = [
            np.interp(column, *each)
            for column, each in zip(probabilities.T, self.knots, strict=True)
        ]
        risen = torch.from_numpy(np.stack(heights, axis=1)).clamp(min=self.floor)
        return risen.log().to(logits.device, logits.dtype)

    def folded(self, classifier: nn.Linear) -> nn.Linear:
        """Refuse: the curves are not linear."""
        what = "isotonic curves cannot be folded into a linear classifier"
        hint = "calibrate again, and store a temperature or vector scaling instead"
        raise UsageError(what, "the stored calibrator", hint)


Calibrator = Annotated[Temperature | Vector | Isotonic, Field(discriminator="method")]

CALIBRATORS: dict[str, type[Temperature] | type[Vector] | type[Isotonic]] = {
    "temperature": Temperature,
    "vector": Vector,
    "isotonic": Isotonic,
}


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    made = nn.Linear(weight.shape[1], weight.shape[0], device=weight.device, dtype=weight.dtype)
    with torch.no_grad():
        made.weight.copy_(weight)
        made.bias.copy_(bias)
    return made
