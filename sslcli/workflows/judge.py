"""A separately trained classifier that says which class each sample looks like."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sslcli import assemble
from sslcli.data.sources.base import ArraySource, Source
from sslcli.engine.checkpoint import load_checkpoint
from sslcli.errors import UsageError
from sslcli.evaluate.calibration.stored import probabilities_of
from sslcli.evaluate.classifier import find_classes, known_classes, need_classifier
from sslcli.workflows.run import Run


@dataclass(frozen=True)
class Verdict:
    """The classes that a judge sees in N samples.

    Attributes:
        checkpoint: The judge's.
        names: Classes that it knows.
        seen: Number of the class of each sample, among `names`, [N].
        right: Whether it is the sample's label, [N]; None for a model without classes.
        top1_real: Share of real test images that it puts in their class; None without labels.
    """

    checkpoint: str
    names: tuple[str, ...]
    seen: Tensor
    right: Tensor | None
    top1_real: float | None

    @property
    def histogram(self) -> dict[str, int]:
        """The number of samples that it puts in each class."""
        counts = torch.bincount(self.seen, minlength=len(self.names)).tolist()
        return dict(zip(self.names, counts, strict=True))

    def facts(self) -> dict[str, Any]:
        """Return the facts of the judge for a record."""
        return {
            "checkpoint": self.checkpoint,
            "top1_real": self.top1_real,
            "histogram": self.histogram,
        }


class Judge:
    """A trained classifier that is shown samples as images of 8 bits, as every evaluation's are.

    Args:
        ckpt: A checkpoint with a classifier.
        known: Classes of the model that is sampled; none when it has none.

    Raises:
        UsageError: If the checkpoint has no classifier, or lacks a class of the model.
    """

    def __init__(self, ckpt: str, known: tuple[str, ...]) -> None:
        self.checkpoint = load_checkpoint(ckpt)
        need_classifier(self.checkpoint)
        self.names = known_classes(self.checkpoint, known)
        if strange := [name for name in known if name not in self.names]:
            what = (
                f"the judge does not know {len(strange)} of the classes: {', '.join(strange[:5])}"
            )
            hint = f"it knows {', '.join(self.names[:5])}{', ...' if len(self.names) > 5 else ''}"
            raise UsageError(what, "judge", hint)

    def ask(self, samples: Tensor, labels: Tensor, names: tuple[str, ...], run: Run) -> Verdict:
        """Return which class each sample looks like.

        Args:
            samples: In [0, 1], [N, 3, H, W].
            labels: Their classes, among `names`, [N].
            names: Classes of the model that is sampled; none when it has none.
            run: That model's, whose device, precision and test images are used.
        """
        pixels = samples.mul(255).round().to(torch.uint8).numpy()
        seen = self._see(ArraySource("samples", pixels), run)[0]
        right = None
        if names:
            numbers = torch.tensor([self.names.index(name) for name in names])
            right = seen == numbers[labels]
        real = self.top1(run.splits.test, run)
        return Verdict(str(self.checkpoint.path), self.names, seen, right, real)

    def top1(self, source: Source, run: Run) -> float | None:
        """Return the share of real images that it puts in their class.

        Samples as good as real images would get the same share. It is None if the images have no
        labels, or labels that the judge does not know.
        """
        if source.labels is None or not len(source):
            return None
        labels = find_classes(source.labels, source.class_names, self.names)
        if (labels < 0).any():
            return None
        found, rows = self._see(source, run)
        return float((found.numpy() == labels[rows.numpy()]).mean())

    def _see(self, source: Source, run: Run) -> tuple[Tensor, Tensor]:
        """Return the class of each readable image, and its row."""
        device = run.device
        config = self.checkpoint.config
        encoder = assemble.load_read_out(self.checkpoint, config.evaluation.features, device)
        found = assemble.features_of(encoder, source, config, device, run.precision)
        run.leave_out(source, found.rows)
        return probabilities_of(self.checkpoint, found.features).argmax(dim=1), found.rows
