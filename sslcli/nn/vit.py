"""Vision transformers whose feature is the [CLS] token (Dosovitskiy et al. 2021).

arXiv:2010.11929. Parameters have timm's names, so that weights go there and come from there.
"""

import math
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from sslcli.config.architectures import TransformerSize
from sslcli.errors import ConfigError
from sslcli.nn.positions import resample_positions, sin_cos_positions

ModuleT = TypeVar("ModuleT", bound=nn.Module)
EPS = 1e-6  # of LayerNorm, as in the codes of timm, DINO and MoCo v3


class VisionTransformer(nn.Module):
    """Patches and a [CLS] token through pre-norm blocks; images of any size in whole patches.

    Args:
        size: Depth, width and heads.
        image_size: Side of the images that the table of positions is for; it is interpolated for
            crops of other sizes, as DINO does.
        patch_size: Side of a patch, which divides that of every image.
        positions: "learned" (DINO), or the fixed "sin-cos" table of MoCo v3.
        init: "normal", truncated at two deviations of 0.02 (DINO, timm), or "xavier" uniform, which
            counts query, key and value as three layers (MoCo v3).
        drop_path: Chance that a sample skips a branch of the last block, rising linearly from 0 in
            the first (Huang et al. 2016, arXiv:1603.09382); in training mode only.
    """

    def __init__(
        self,
        size: TransformerSize,
        *,
        image_size: int,
        patch_size: int,
        positions: Literal["learned", "sin-cos"] = "learned",
        init: Literal["normal", "xavier"] = "normal",
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        grid = image_size // patch_size
        self.patch_embed = PatchEmbedding(patch_size, size.width)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, size.width))
        table = torch.zeros(1, 1 + grid * grid, size.width)
        if positions == "learned":
            self.pos_embed: Tensor = nn.Parameter(nn.init.trunc_normal_(table, std=0.02))
        else:
            table[0, 1:] = sin_cos_positions(size.width, grid)  # and zeros for [CLS]
            self.register_buffer("pos_embed", table)
        rates = [drop_path * block / max(1, size.depth - 1) for block in range(size.depth)]
        self.blocks = nn.Sequential(*(Block(size.width, size.heads, rate) for rate in rates))
        self.norm = nn.LayerNorm(size.width, eps=EPS)
        self.feature_dim = size.width
        (_init_normal if init == "normal" else _init_xavier)(self)

    def forward(self, images: Tensor) -> Tensor:
        """Map images [B, 3, H, W] to their last [CLS] tokens, [B, feature_dim], after the norm."""
        tokens: Tensor = self.blocks(self.tokens(images))
        return self.norm(tokens[:, 0])

    @property
    def depth(self) -> int:
        """The number of blocks."""
        return len(self.blocks)

    def last_tokens(self, images: Tensor, count: int) -> list[Tensor]:
        """Return the tokens behind each of the last blocks, after the norm, [B, 1 + N, D] each."""
        tokens, found = self.tokens(images), []
        for number, block in enumerate(self.blocks, start=1):
            tokens = block(tokens)
            if number > self.depth - count:
                found.append(self.norm(tokens))
        return found

    def tokens(self, images: Tensor) -> Tensor:
        """Return the input of the first block: [CLS], then patches row by row, [B, 1 + N, D].

        Raises:
            ConfigError: If the images do not divide into patches.
        """
        patches = self.patch_embed(images)  # [B, D, h, w]
        positions = resample_positions(self.pos_embed, *patches.shape[2:])
        cls = self.cls_token.expand(patches.shape[0], -1, -1)
        return torch.cat([cls, patches.flatten(2).transpose(1, 2)], dim=1) + positions

    def cls_attention(self, images: Tensor) -> Tensor:
        """Return the attention of [CLS] in the last block (DINO, arXiv:2104.14294, figure 1).

        Args:
            images: [B, 3, H, W].

        Returns:
            Weight of each patch in each head, [B, heads, H / patch, W / patch]; with [CLS]'s weight
            of itself, left out here, a head's weights add up to 1.
        """
        last = self.blocks[-1]
        assert isinstance(last, Block)
        x = last.norm1(self.blocks[:-1](self.tokens(images)))
        height, width = (side // self.patch_embed.patch_size for side in images.shape[2:])
        return last.attn.of_cls(x)[:, :, 1:].unflatten(2, (height, width))


class PatchEmbedding(nn.Module):
    """Project each patch of an image, [B, 3, H, W] to [B, D, H / patch, W / patch]."""

    def __init__(self, patch_size: int, width: int) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.proj = nn.Conv2d(3, width, patch_size, stride=patch_size)

    def forward(self, images: Tensor) -> Tensor:
        """Refuse images that do not divide; a convolution would leave their edges out."""
        need_whole_patches(images, self.patch_size)
        return self.proj(images)


def need_whole_patches(images: Tensor, patch_size: int) -> None:
    """Raise ConfigError unless images [B, 3, H, W] divide into patches."""
    for side in images.shape[2:]:
        if side % patch_size:
            what = f"{side}-pixel images do not divide into patches of {patch_size} pixels"
            hint = f"choose views and data.image_size in multiples of {patch_size}"
            raise ConfigError(what, "encoder.patch_size", hint)


class Block(nn.Module):
    """Attention, then an MLP four times as wide, each normed before and added after."""

    def __init__(self, width: int, heads: int, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=EPS)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=EPS)
        self.mlp = MLP(width)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens [B, N, D] to tokens."""
        x = x + self.drop_path(self.attn(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class Attention(nn.Module):
    """Multi-head self-attention, [B, N, D] to [B, N, D]."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Let each token attend to all tokens."""
        mixed = functional.scaled_dot_product_attention(*self._qkv(x))  # [B, heads, N, D / heads]
        return self.proj(mixed.transpose(1, 2).flatten(2))

    def of_cls(self, x: Tensor) -> Tensor:
        """Return the first token's weights of all tokens, [B, heads, N], in float32."""
        query, key, _ = self._qkv(x)
        scores = query[:, :, 0, None].float() @ key.float().mT / math.sqrt(key.shape[-1])
        return scores.squeeze(2).softmax(dim=-1)

    def _qkv(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return query, key and value, each [B, heads, N, D / heads]."""
        query, key, value = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return query, key, value

    def extra_repr(self) -> str:
        """Show the number of heads, which the shapes of weights do not tell."""
        return f"heads={self.heads}"


class MLP(nn.Module):
    """Linear, GELU, Linear."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., D] to [..., D]."""
        return self.fc2(self.act(self.fc1(x)))


class DropPath(nn.Module):
    """Drop whole samples at a rate and scale up the others; nothing in evaluation mode."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, branch: Tensor) -> Tensor:
        """Return [B, ...] with some samples zero."""
        if not self.training or self.rate == 0:
            return branch
        keep = 1 - self.rate
        shape = (branch.shape[0], *[1] * (branch.dim() - 1))
        return branch * branch.new_empty(shape).bernoulli_(keep).div_(keep)

    def extra_repr(self) -> str:
        """Show the rate."""
        return f"rate={self.rate:g}"


def without_drop_path(network: ModuleT) -> ModuleT:
    """Switch DropPath off in a network, in training mode too: a teacher drops nothing (DINO)."""
    for module in network.modules():
        if isinstance(module, DropPath):
            module.rate = 0.0
    return network


def _init_normal(network: VisionTransformer) -> None:
    """Draw as DINO and timm do; the patch projection keeps PyTorch's draw."""
    nn.init.trunc_normal_(network.cls_token, std=0.02)
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
            nn.init.zeros_(module.bias)


def _init_xavier(network: VisionTransformer) -> None:
    """Draw as MoCo v3's code does, the patch projection as a linear layer of 3 p^2 inputs."""
    nn.init.normal_(network.cls_token, std=1e-6)
    for name, module in network.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            outputs = len(module.weight) // (3 if name.endswith("qkv") else 1)
            bound = math.sqrt(6 / (module.weight[0].numel() + outputs))
            nn.init.uniform_(module.weight, -bound, bound)
            assert module.bias is not None
            nn.init.zeros_(module.bias)
