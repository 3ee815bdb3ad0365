"""A separately trained classifier that says which class each sample looks like."""

import torch
from torch import Tensor

from sslcli import assemble
from sslcli.cli.evaluation import Evaluation
from sslcli.data.sources.base import ArraySource, Source
from sslcli.engine.checkpoint import load_checkpoint
from sslcli.errors import UsageError
from sslcli.evaluate.calibration.stored import probabilities_of
from sslcli.evaluate.classifier import class_names, find_classes, need_classifier


class Judge:
    """A classifier's run; it sees samples as every evaluation sees images, in 8 bits.

    Args:
        ckpt: A checkpoint with a classifier.
        known: Classes of the model that is sampled; none when it has none.

    Raises:
        UsageError: If it is no classifier, or does not know a class of the model.
    """

    def __init__(self, ckpt: str, known: tuple[str, ...]) -> None:
        self.checkpoint = load_checkpoint(ckpt)
        need_classifier(self.checkpoint)
        self.names = class_names(self.checkpoint)
        if strange := [name for name in known if name not in self.names]:
            what = (
                f"the judge does not know {len(strange)} of the classes: {', '.join(strange[:5])}"
            )
            hint = f"it knows {', '.join(self.names[:5])}{', ...' if len(self.names) > 5 else ''}"
            raise UsageError(what, "--judge", hint)

    def classify(self, samples: Tensor, evaluation: Evaluation) -> Tensor:
        """Return the number of the class, among `names`, that each image is put in, [N].

        Args:
            samples: In [0, 1], [N, 3, H, W].
            evaluation: Gives device and precision.
        """
        pixels = samples.mul(255).round().to(torch.uint8).numpy()
        return self._see(ArraySource("samples", pixels), evaluation)[0]

    def top1(self, source: Source, evaluation: Evaluation) -> float | None:
        """Return the share of real images that it puts in their class.

        That is what samples as good as real images would get; None without labels it knows.
        """
        if source.labels is None or not len(source):
            return None
        labels = find_classes(source.labels, source.class_names, self.names)
        if (labels < 0).any():
            return None
        found, rows = self._see(source, evaluation)
        return float((found.numpy() == labels[rows.numpy()]).mean())

    def _see(self, source: Source, evaluation: Evaluation) -> tuple[Tensor, Tensor]:
        """Return the class of each readable image, and its row."""
        device = evaluation.device
        encoder = assemble.load_encoder(self.checkpoint, device)
        config = self.checkpoint.config
        found = assemble.features_of(encoder, source, config, device, evaluation.precision)
        evaluation.leave_out(source, found.rows)
        return probabilities_of(self.checkpoint, found.features).argmax(dim=1), found.rows
