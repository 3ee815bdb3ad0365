"""The input of scores: a network's outputs on a set of images, and the data to fit scores on."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from sslcli.evaluate.calibration.calibrators import Calibrator
from sslcli.evaluate.finite import need_finite
from sslcli.evaluate.ood.density import Density


@dataclass(frozen=True)
class Seen:
    """One set of images as the network sees them, in evaluation mode.

    Attributes:
        features: Penultimate features, [N, D] float32.
        logits: Logits of the classifier, [N, C] float32; None without a classifier.
        labels: Class of each image, [N] int64; None without labels.
        run: Runs a module that takes normalised images [B, 3, S, S] over the same images, and
            returns its rows [N, ...]; for scores that change the input.
    """

    features: Float[Tensor, "n dim"]
    logits: Float[Tensor, "n classes"] | None
    labels: Int[Tensor, " n"] | None
    run: Callable[[nn.Module], Tensor]

    def with_features(self, features: Float[Tensor, "n dim"], classifier: nn.Linear) -> "Seen":
        """Return the set with other features, and the logits that the classifier makes of them.

        Raises:
            CheckpointError: If a logit is not finite.
        """
        logits = functional.linear(features, classifier.weight, classifier.bias)
        need_finite(logits, "logits", "fp32")
        return replace(self, features=features, logits=logits)

    def pick(self, chosen: Bool[Tensor, " n"], run: Callable[[nn.Module], Tensor]) -> "Seen":
        """Return the chosen rows; `run` goes over their images."""
        logits, labels = (
            None if each is None else each[chosen] for each in (self.logits, self.labels)
        )
        return Seen(self.features[chosen], logits, labels, run)


@dataclass(frozen=True)
class Known:
    """The data that scores may be fitted on: training data and the network, no test image.

    Attributes:
        train: Training images, without those of `validation`.
        validation: Training images held out from all fitting.
        network: Maps normalised images [B, 3, S, S] to logits [B, C], or to features [B, D] when
            there is no classifier; on its device, in evaluation mode.
        classifier: The last layer, on the CPU; None for a bare encoder.
        std: Deviation that each channel was divided by, in units of [0, 1]; None for a network that
            reads no images.
        density: The network as a model of images; None when its method learns none.
        calibrator: What the checkpoint stores beside its classifier; None when it stores none.
    """

    train: Seen
    validation: Seen
    network: nn.Module
    classifier: nn.Linear | None
    std: tuple[float, float, float] | None
    density: Density | None = None
    calibrator: Calibrator | None = None

    def calibrated(self, logits: Float[Tensor, "n classes"]) -> Float[Tensor, "n classes"]:
        """Return the logits, corrected by the stored calibrator if there is one."""
        return self.calibrator.calibrated(logits.double()) if self.calibrator else logits
