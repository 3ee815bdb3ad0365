"""Persistent chains of SGLD for JEM and HDGE: each continues where an earlier one stopped."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sslcli.config.methods.energy import ReplayConfig, SamplerConfig
from sslcli.errors import ConfigError
from sslcli.memory.class_images import ClassImages
from sslcli.memory.replay import ReplayBuffer
from sslcli.methods.base import Progress
from sslcli.methods.classifier import Classifier, langevin
from sslcli.nn.modes import evaluating
from sslcli.perturb.sgld import sgld


@dataclass(frozen=True)
class Negatives:
    """Samples of one step.

    Attributes:
        images: Ends of the chains, [B, 3, H, W] float32, detached.
        labels: Class that each chain belongs to, [B]; meaningless if the target is marginal.
        carry: Tensors for `Sampling.remember`.
        metrics: Detached scalars.
    """

    images: Tensor
    labels: Tensor
    carry: dict[str, Tensor]
    metrics: dict[str, Tensor]


class Sampling(nn.Module):
    """A replay buffer, fresh starts and SGLD (JEM, algorithm 1).

    The network is in evaluation mode while it is sampled from, and every module's mode is put back.

    Args:
        sampler: Steps.
        replay: Buffer and fresh starts.
        num_classes: Classes of the data.
        by_class: Sample from p(x|y), y uniform, with a block of the buffer a class.
    """

    def __init__(
        self,
        sampler: SamplerConfig,
        replay: ReplayConfig,
        num_classes: int,
        *,
        by_class: bool,
    ) -> None:
        super().__init__()
        self.settings, self.config = langevin(sampler), replay
        self.num_classes, self.by_class = num_classes, by_class
        shape = (3, replay.image_size, replay.image_size)
        self.replay = ReplayBuffer(replay.size, shape, num_classes if by_class else 1)
        self.class_images: ClassImages | None = None
        if replay.start == "class-gaussian":
            self.class_images = ClassImages(num_classes, replay.class_images, shape)

    def draw(
        self, model: Classifier, data: Tensor, data_labels: Tensor, progress: Progress
    ) -> Negatives:
        """Sample as many images as the batch has, without writing memory.

        Args:
            model: The density to sample from.
            data: The batch's images, for later class-Gaussian starts, [B, 3, H, W].
            data_labels: Their classes, [B].
            progress: Says which part of a step this is.

        Raises:
            ConfigError: If the buffer has too few rows for the batch, or images of another size.
        """
        check_size(data, self.config)
        check_rows(len(data) * progress.parts, self.replay.block)
        labels = torch.randint(self.num_classes, (len(data),), device=data.device)
        blocks = labels if self.by_class else torch.zeros_like(labels)
        rows = self.replay.distinct_rows(blocks, progress.part, progress.parts)
        renewed = torch.rand(len(rows), device=data.device) < self.config.restart
        is_fresh = self.replay.is_empty(rows) | renewed
        starts = torch.where(
            is_fresh[:, None, None, None], self.fresh(labels), self.replay.images[rows]
        )
        target = labels if self.by_class else None
        with evaluating(model):
            chain = sgld(lambda x: model.log_density(x, target), starts, self.settings)
        carry = {"rows": rows, "samples": chain.samples, "labels": labels, "is_fresh": is_fresh}
        if self.class_images is not None:
            carry |= {"data": data.detach(), "data_labels": data_labels}
        metrics = {
            "sample_gradient": chain.gradient_norm,
            "sample_peak": chain.samples.abs().amax(),
            "replay_age": self.replay.age.float().mean(),
        }
        return Negatives(chain.samples, labels, carry, metrics)

    def fresh(self, labels: Tensor) -> Tensor:
        """Draw fresh starts of chains, [B, 3, H, W]."""
        low, high = self.config.range
        shape = (len(labels), *self.replay.images.shape[1:])
        uniform = torch.empty(shape, device=labels.device).uniform_(low, high)
        return uniform if self.class_images is None else self.class_images.draw(labels, uniform)

    def remember(self, carry: Mapping[str, Tensor]) -> None:
        """Write the chains' ends, and the batch that class-Gaussian starts are fitted to."""
        self.replay.write(carry["rows"], carry["samples"], carry["labels"], carry["is_fresh"])
        if self.class_images is not None:
            self.class_images.push(carry["data"], carry["data_labels"])

    def local_state(self) -> dict[str, Tensor]:
        """Return the memory, which differs from process to process."""
        return dict(self.named_buffers(prefix="sampling"))


def check_rows(chains: int, rows: int) -> None:
    """Raise ConfigError unless each chain of a step can have a row of its own."""
    if chains > rows:
        what = f"{chains} chains a step need as many rows, a class or the buffer has {rows}"
        raise ConfigError(what, "method.replay.size", "use a larger buffer or smaller batches")


def check_size(images: Tensor, config: ReplayConfig) -> None:
    """Raise ConfigError unless the views are as large as the images of the buffer."""
    if images.shape[-1] != config.image_size:
        what = f"views are {images.shape[-1]} pixels wide, the buffer's images {config.image_size}"
        raise ConfigError(what, "method.replay.image_size", "write the views' size")
