"""DINO: a student matches a teacher, its own moving average, on other views of an image.

Caron et al. 2021, arXiv:2104.14294. Traps: frozen prototypes get no gradient at all, since momentum
and weight decay would move them with a zero one; the centre averages the teacher's raw logits over
all processes, and is updated after the loss; logits, softmaxes and centre are float32; only the
student drops paths; gradients are clipped one by one (`optimizer.clip_each`).
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from sslcli.config.methods.transformers import DINOConfig
from sslcli.data.batch import Batch
from sslcli.distributed.collective import total
from sslcli.losses.dino import dino, teacher_probabilities
from sslcli.losses.precision import at_least_float32, inner_products
from sslcli.methods.base import Method, Output, Progress, feature_dim
from sslcli.nn.multi_crop import embed_views
from sslcli.nn.target import follow, target_of
from sslcli.nn.vit import without_drop_path

GLOBAL = 2  # views that the teacher sees


class DINO(Method):
    """Match the teacher's centred and sharpened distribution over K prototypes (section 3.1).

    The teacher sees the first two views, the student sees all. Views of one size run as one batch,
    and a head runs once over all. The teacher's encoder is kept, since it is the better one
    throughout training (section 5.2). Without centring the outputs collapse to one prototype,
    without sharpening to the uniform distribution (section 5.3): `teacher_entropy`, in nats, then
    goes to 0 or to ln K.

    Args:
        config: Head, temperatures, momenta and ablations.
        encoder: Start of student and teacher; maps images of every view's size to
            [B, encoder.feature_dim].
    """

    gathers = True
    center: Tensor

    def __init__(self, config: DINOConfig, encoder: nn.Module) -> None:
        super().__init__()
        self.config = config
        self.student = nn.Sequential(encoder, DINOHead(config, feature_dim(encoder)))
        self.encoder, self.head = without_drop_path(target_of(self.student))
        self.register_buffer("center", torch.zeros(config.prototypes))

    @property
    def projector(self) -> nn.Module:
        """The teacher's layers up to the unit vector, which follow the encoder that is kept."""
        assert isinstance(self.head, DINOHead)
        return self.head.mlp

    @property
    def _teacher(self) -> nn.Module:
        return nn.Sequential(self.encoder, self.head)

    def forward(self, batch: Batch, progress: Progress) -> Output:
        """Return the cross-entropy in nats; ln K is a guess."""
        temperature = self._teacher_temperature(progress)
        with torch.no_grad():
            teacher = embed_views(self.encoder, self.head, batch.views[:GLOBAL])  # [B, K] a view
        encoder, head = self.student
        student = embed_views(encoder, head, batch.views)
        loss = dino(student, teacher, self.center, self.config.student_temperature, temperature)
        said = teacher_probabilities(teacher[0], self.center, temperature)
        metrics = {"teacher_entropy": torch.special.entr(said).sum(dim=1).mean()}
        logits = torch.cat(teacher)  # [2B, K]
        carry = {
            "sum": logits.sum(dim=0, keepdim=True),
            "count": logits.new_full((1,), len(logits)),
        }
        chance = math.log(self.config.prototypes)
        return Output(loss, metrics, carry, student[0].detach(), chance)

    def _teacher_temperature(self, progress: Progress) -> float:
        """Return a temperature that rises with the step (in the authors' code, with the epoch)."""
        config, start = self.config, self.config.teacher_temperature_start
        if not config.sharpening:
            return config.student_temperature
        rise = config.teacher_temperature_warmup
        steps = rise.steps(progress.steps_per_epoch, progress.total_steps)
        if start is None or progress.step >= steps:
            return config.teacher_temperature
        return start + (config.teacher_temperature - start) * progress.step / steps

    def before_step(self, progress: Progress) -> None:
        """Remove the gradient of frozen prototypes (in the authors' code, in the first epoch)."""
        frozen = self.config.freeze_prototypes
        if progress.step < frozen.steps(progress.steps_per_epoch, progress.total_steps):
            head = self.student[-1]
            assert isinstance(head, DINOHead)
            for parameter in head.prototypes.parameters():
                parameter.grad = None

    def after_step(self, progress: Progress, carry: Mapping[str, Tensor]) -> None:
        """Move the teacher towards the student, and the centre towards this step's mean."""
        momentum = progress.cosine(self.config.momentum, self.config.momentum_end)
        follow(self._teacher, self.student, momentum)
        if self.config.centring:
            found = total(carry["sum"].sum(dim=0)) / total(carry["count"].sum())
            self.center.lerp_(found, 1 - self.config.center_momentum)  # eq. 4


class DINOHead(nn.Module):
    """Three layers to a unit vector, then its products with K prototypes (section 3.2)."""

    def __init__(self, config: DINOConfig, dim: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before in (dim, config.hidden):
            layers.append(nn.Linear(before, config.hidden))
            if config.head_norm:
                layers.append(nn.BatchNorm1d(config.hidden))
            layers.append(nn.GELU())
        self.mlp = nn.Sequential(*layers, nn.Linear(config.hidden, config.bottleneck))
        for layer in self.mlp:
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)
        self.prototypes = Prototypes(config)

    def forward(self, features: Tensor) -> Tensor:
        """Map [B, dim] to logits [B, K]."""
        hidden = at_least_float32(self.mlp(features))
        vectors = functional.normalize(hidden, dim=1)  # [B, bottleneck]
        logits: Tensor = self.prototypes(vectors)
        return logits


class Prototypes(nn.Linear):
    """A linear layer without bias whose weights are directions times lengths, 1 at first."""

    def __init__(self, config: DINOConfig) -> None:
        super().__init__(config.bottleneck, config.prototypes, bias=False)
        self.length: nn.Parameter | None = None
        if not config.normed_prototypes:
            self.length = nn.Parameter(torch.ones(config.prototypes, 1))

    def forward(self, vectors: Tensor) -> Tensor:
        """Map [B, bottleneck] to [B, K], in float32: temperature 0.04 magnifies rounding."""
        directions = functional.normalize(self.weight, dim=1)
        return inner_products(
            vectors, directions if self.length is None else directions * self.length
        )
