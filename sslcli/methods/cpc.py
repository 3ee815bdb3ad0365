"""CPC v1 and v2: from the patches above, tell which patch lies some rows below.

Van den Oord et al. 2018, arXiv:1807.03748, section 3.2; Henaff et al. 2020, arXiv:1905.09272, with
the loss and context network of its appendix. Traps: the features are the encoder's, never the
context's; a target shares no pixel with the rows that the context sees; BatchNorm in the patch
encoder tells patches of their neighbours, so that the loss falls and nothing is learned.
"""

import math
from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from sslcli.config.methods.predictive import CPCConfig, CPCV1Config, CPCV2Config
from sslcli.data.batch import Batch
from sslcli.distributed.collective import gather_with_gradient, rank
from sslcli.errors import ConfigError
from sslcli.losses.cpc import drawn_found, grid_found
from sslcli.losses.inner_cross_entropy import Found
from sslcli.methods.base import BatchContrast, Output, Progress
from sslcli.nn.patch_encoder import PatchEncoder
from sslcli.nn.pixel_context import context_network


class CPC(BatchContrast):
    """Predict cells of a grid from the rows above; from other sides by turning the grid.

    With context c and targets z, the score of cell (r + k, w) for a prediction k rows below (r, w)
    is the product of W_k c(r, w) with its target. Each direction has its own W_k.

    Args:
        config: Context network, offsets and directions.
        encoder: Cuts images into patches.
        dim: Of predictions.
        bias: Whether predictions have a bias.

    Raises:
        ConfigError: If the encoder has no patches.
    """

    encoder: PatchEncoder
    adds_offsets: ClassVar[bool]  # rather than averages over them

    def __init__(self, config: CPCConfig, encoder: nn.Module, dim: int, *, bias: bool) -> None:
        super().__init__()
        self.offsets, self.directions = config.offsets, config.directions
        self.encoder = patch_encoder(encoder)
        width = self.encoder.feature_dim
        self.contexts = nn.ModuleList(
            context_network(config.context, width, config.hidden, config.blocks)
            for _ in range(1 if config.shared_context else config.directions)
        )
        self.predictors = nn.ModuleList(
            nn.ModuleList(nn.Conv2d(width, dim, 1, bias=bias) for _ in config.offsets)
            for _ in range(config.directions)
        )

    @abstractmethod
    def targets(self, grid: Tensor) -> Tensor:
        """Return what predictions are compared with, [B, D, G, G], of a grid [B, C, G, G]."""

    @abstractmethod
    def find(self, predictions: Tensor, targets: Tensor, offset: int) -> Found:
        """Return the loss of finding each cell's target, and the share that is found."""

    @abstractmethod
    def candidates(self, targets: Tensor) -> int:
        """Return how many cells a target is looked for among."""

    def embed(self, batch: Batch) -> tuple[Tensor, ...]:
        """Return the features of every patch of the first view, [B, C, G, G]."""
        return (self.encoder.grid(batch.views[0]),)

    def compare(self, embeddings: tuple[Tensor, ...], batch: Batch, progress: Progress) -> Output:
        """Return the loss in nats, of all directions' mean, and the share of cells found."""
        (grid,) = embeddings
        targets = gather_with_gradient(self.targets(grid))  # [W * B, D, G, G]
        losses, found, chance = [], [], 0.0
        for turn, predictors in enumerate(self.predictors):  # quarter turns clockwise
            context = self.contexts[turn % len(self.contexts)](torch.rot90(grid, -turn, (2, 3)))
            turned = torch.rot90(targets, -turn, (2, 3))
            for offset, predict in zip(self.offsets, predictors.children(), strict=True):
                loss, top1 = self.find(predict(context), turned, offset)
                losses.append(loss)
                found.append(top1)
                chance += math.log(self.candidates(turned))
        averaged = len(losses) if not self.adds_offsets else self.directions
        return Output(
            torch.stack(losses).sum() / averaged,
            {"patch_top1": torch.stack(found).mean()},
            embeddings=grid.detach().mean(dim=(2, 3)),
            chance=chance / averaged,
        )


class CPCv1(CPC):
    """CPC v1: the features themselves are the targets, and negatives are drawn.

    As Greedy InfoMax and RS have it, W_k has no bias and the loss is the mean over offsets. They
    apply W_k to the targets, which is the same product.
    """

    adds_offsets = False

    def __init__(self, config: CPCV1Config, encoder: nn.Module) -> None:
        super().__init__(config, encoder, patch_encoder(encoder).feature_dim, bias=False)
        self.negatives = config.negatives

    def targets(self, grid: Tensor) -> Tensor:
        """Return the grid."""
        return grid

    def find(self, predictions: Tensor, targets: Tensor, offset: int) -> Found:
        """Find the own target among cells drawn from the batch with replacement."""
        first = rank() * len(predictions)
        if not self.negatives:
            return grid_found(predictions, targets, offset, first)
        lower = targets[0, 0, offset:].numel()  # cells of an image that can be drawn
        shape = (len(predictions) * lower, self.negatives)
        drawn = torch.randint(len(targets) * lower, shape, device=targets.device)
        return drawn_found(predictions, targets, drawn, offset, first)

    def candidates(self, targets: Tensor) -> int:
        """Return the number of drawn cells and the own one, or of all."""
        return 1 + self.negatives if self.negatives else targets[:, 0].numel()


class CPCv2(CPC):
    """CPC v2: narrow targets, every cell of the batch is a candidate; the sum over offsets."""

    adds_offsets = True

    def __init__(self, config: CPCV2Config, encoder: nn.Module) -> None:
        super().__init__(config, encoder, config.dim, bias=True)
        self.scale = config.scale
        self.target = nn.Conv2d(self.encoder.feature_dim, config.dim, 1)

    def targets(self, grid: Tensor) -> Tensor:
        """Map the grid to the targets' width."""
        found: Tensor = self.target(grid)
        return found

    def find(self, predictions: Tensor, targets: Tensor, offset: int) -> Found:
        """Find the own target among all cells of the batch, rows above it among them."""
        first = rank() * len(predictions)
        return grid_found(self.scale * predictions, targets, offset, first)

    def candidates(self, targets: Tensor) -> int:
        """Return the number of cells of the batch."""
        return targets[:, 0].numel()


def patch_encoder(encoder: nn.Module) -> PatchEncoder:
    """Return an encoder that has patches.

    Raises:
        ConfigError: If it has none.
    """
    if not isinstance(encoder, PatchEncoder):
        what = "CPC predicts patches, and this encoder sees images as a whole"
        hint = "use one that cuts them, such as cpc-resnet14 with encoder.norm = layer"
        raise ConfigError(what, "encoder.name", hint)
    return encoder
