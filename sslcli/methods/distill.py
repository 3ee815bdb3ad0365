"""Distillation of a fine-tuned teacher to a student, by images without labels.

The third stage of SimCLR v2 (Chen et al. 2020, arXiv:2006.10029, section 2).
"""

import math

import torch
from torch import nn
from torch.nn import functional

from sslcli.config.methods.labelled import DistillConfig
from sslcli.data.batch import Batch
from sslcli.losses.precision import at_least_float32
from sslcli.methods.base import Output, Progress
from sslcli.methods.classifier import Classifier, labels_of, train_top1


class Distill(Classifier):
    """Learn a teacher's probabilities (eq. 2), and labels where the data has them (eq. 3).

    The loss is (1 - alpha) cross-entropy with the labels + alpha cross-entropy with the teacher's
    softmax. Student and teacher are both divided by the temperature in the second term. It is not
    multiplied by the squared temperature, unlike in Hinton et al. 2015. The teacher stays in
    evaluation mode, without gradient.

    Args:
        config: Classes, temperature and alpha.
        encoder: The student's.
        teacher: Maps images to logits [B, C], on the training device; None to rebuild a trained
            student.
    """

    def __init__(
        self, config: DistillConfig, encoder: nn.Module, teacher: nn.Module | None = None
    ) -> None:
        super().__init__(encoder, config.num_classes)
        self.config = config
        # A list hides the teacher from nn.Module: it is not trained, saved or set to training mode.
        self._teachers = [teacher.eval().requires_grad_(False)] if teacher else []

    @property
    def teacher(self) -> nn.Module:
        """The teacher of a student in training."""
        return self._teachers[0]

    def forward(self, batch: Batch, progress: Progress) -> Output:
        """Return the loss in nats."""
        alpha, temperature, view = self.config.alpha, self.config.temperature, batch.views[0]
        with torch.no_grad():
            taught = at_least_float32(self.teacher(view)) / temperature  # [B, C]
        logits = self.logits(view)
        loss = alpha * functional.cross_entropy(logits / temperature, taught.softmax(dim=1))
        if alpha < 1:
            labels = labels_of(batch)
            loss = loss + (1 - alpha) * functional.cross_entropy(logits, labels)
        metrics = {"agreement": train_top1(logits, taught.argmax(dim=1))}
        return Output(loss, metrics, chance=math.log(self.config.num_classes))
