"""Two towers that meet: what CLIP and SigLIP share."""

from abc import abstractmethod
from collections.abc import Mapping
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from sslcli.config.methods.captions import CaptionsSection
from sslcli.data.batch import Batch, Tokens
from sslcli.distributed.collective import gather, gather_with_gradient, rank
from sslcli.errors import ConfigError
from sslcli.losses.contrastive import own_key_top1
from sslcli.methods.base import (
    BatchContrast,
    Method,
    Output,
    ParamGroup,
    Progress,
    feature_dim,
    trainable,
)
from sslcli.nn.tower import Tower

_FACTOR = 6364136223846793005  # an odd number; int64 wraps around, alike on every device


class TwoTowers(BatchContrast):
    """A tower of images and one of texts, each with a projection without bias.

    Args:
        config: Width of the projections, and which tower is frozen.
        encoder: Of images.
        text_encoder: Of texts.

    Raises:
        ConfigError: If an encoder that is not projected has another width than the projections.
    """

    log_scale: nn.Parameter  # of the factor of the cosines

    def __init__(
        self, config: CaptionsSection, encoder: nn.Module, text_encoder: nn.Module
    ) -> None:
        super().__init__()
        self.config = config
        self.encoder, self.text_encoder = encoder, text_encoder
        self.image_projection: nn.Module = nn.Identity()
        if config.project_image:
            self.image_projection = projection(feature_dim(encoder), config.dim)
        elif feature_dim(encoder) != config.dim:
            what = (
                f"the encoder gives {feature_dim(encoder)} entries, and method.dim is {config.dim}"
            )
            raise ConfigError(what, "method.dim", "use the encoder's, or project_image = true")
        self.text_projection = projection(feature_dim(text_encoder), config.dim)
        if self.frozen:
            self.frozen.requires_grad_(False)

    @property
    def frozen(self) -> nn.Module | None:
        """The encoder that is not trained."""
        return {"image": self.encoder, "text": self.text_encoder}.get(self.config.freeze or "")

    @property
    def projector(self) -> nn.Module:
        """The projection of images."""
        return self.image_projection

    def towers(self) -> Mapping[str, nn.Module]:
        """Return both encoders, each with its projection."""
        return {
            "image": Tower(self.encoder, self.image_projection),
            "text": Tower(self.text_encoder, self.text_projection),
        }

    @property
    def scoring(self) -> tuple[float, float]:
        """What a cosine is multiplied by, and what is added, to make a logit of it."""
        return self.log_scale.detach().exp().item(), 0.0

    def train(self, mode: bool = True) -> "TwoTowers":
        """Switch the mode of all but the frozen tower."""
        super().train(mode)
        if self.frozen:
            self.frozen.eval()
        return self

    def embed(self, batch: Batch) -> tuple[Tensor, ...]:
        """Return the vectors of the first view of each image and text, [B, D] each."""
        text = batch.texts[0]
        with self._no_grad("image"):
            seen = self.encoder(batch.views[0])
        with self._no_grad("text"):
            read = self.text_encoder(text.ids, text.mask)
        return self.image_projection(seen), self.text_projection(read)

    def _no_grad(self, tower: str) -> torch.no_grad | nullcontext[None]:
        return torch.no_grad() if self.config.freeze == tower else nullcontext()

    def compare(self, embeddings: tuple[Tensor, ...], batch: Batch, progress: Progress) -> Output:
        """Return the loss of this process's rows among those of all."""
        image, text = embeddings
        images, texts = (gather_with_gradient(each) for each in embeddings)  # [W * B, D]
        first = rank() * len(image)
        loss, chance = self.loss(image, text, first, images, texts)
        metrics = {
            "image_top1": own_key_top1(image, texts, first),
            "text_top1": own_key_top1(text, images, first),
            "scale": self.log_scale.detach().exp(),
            "equal_captions": equal_share(batch.texts[0]),
        }
        return Output(loss, metrics, embeddings=image.detach(), chance=chance)

    def param_groups(self) -> list[ParamGroup]:
        """Return what is learned; the scale and the like, which are numbers, do not decay."""
        named = list(trainable(self))
        groups = [ParamGroup([pair for pair in named if pair[1].ndim])]
        return [*groups, ParamGroup([pair for pair in named if not pair[1].ndim], decays=False)]

    @abstractmethod
    def loss(
        self, image: Tensor, text: Tensor, first: int, images: Tensor, texts: Tensor
    ) -> tuple[Tensor, float | None]:
        """Return the loss of own rows among all, and that of a guess if it has one."""


def scoring_of(method: Method) -> tuple[float, float]:
    """Return the factor and the bias that make a logit of a cosine; CLIP's largest without own."""
    return method.scoring if isinstance(method, TwoTowers) else (100.0, 0.0)


def projection(width: int, dim: int) -> nn.Linear:
    """Return a layer without bias, drawn as the official code draws CLIP's."""
    layer = nn.Linear(width, dim, bias=False)
    nn.init.normal_(layer.weight, std=width**-0.5)
    return layer


@torch.no_grad()
def equal_share(texts: Tokens) -> Tensor:
    """Return the share of texts that equal another one of the batch, of all processes; a scalar.

    The loss takes the image of each for a wrong answer to the other. Texts are compared by a
    polynomial of their numbers modulo 2^64, which padding does not change.
    """
    ids, mask = texts.ids, texts.mask
    factors = torch.full((ids.shape[1],), _FACTOR, device=ids.device).cumprod(0)
    sums = gather(((ids + 1) * mask * factors).sum(dim=1)).sort().values  # [W * B]
    same = sums[1:] == sums[:-1]
    none = same.new_zeros(1)
    found = torch.cat([none, same]) | torch.cat([same, none])
    return found.to(torch.get_default_dtype()).mean()
