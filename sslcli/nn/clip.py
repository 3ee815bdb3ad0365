"""CLIP's own transformers: one of images in patches, one of texts.

Radford et al. 2021, arXiv:2103.00020, sections 2.4 and 2.5. Tensors have the names of the official
code, so that weights go there and come from there. The projections belong to the method.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sslcli.config.architectures import TransformerSize
from sslcli.config.encoder import Gelu
from sslcli.nn.positions import resample_positions
from sslcli.nn.vit import need_whole_patches


class QuickGELU(nn.Module):
    """x sigmoid(1.702 x), which the official code has for a GELU."""

    def forward(self, x: Tensor) -> Tensor:
        """Map [...] to [...]."""
        return x * torch.sigmoid(1.702 * x)


class Attention(nn.Module):
    """Multi-head self-attention, [B, N, D] to [B, N, D].

    Args:
        width: Entries of a token.
        heads: Divide them.
        is_causal: Let each token see itself and those before it.
    """

    def __init__(self, width: int, heads: int, *, is_causal: bool) -> None:
        super().__init__()
        self.heads, self.is_causal = heads, is_causal
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Let each token attend to those that it sees."""
        joined = functional.linear(x, self.in_proj_weight, self.in_proj_bias)
        query, key, value = joined.unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=self.is_causal)
        mapped: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))
        return mapped

    def extra_repr(self) -> str:
        """Show what the shapes of weights do not tell."""
        return f"heads={self.heads}, is_causal={self.is_causal}"


class Block(nn.Module):
    """Attention, then an MLP four times as wide, each normed before and added after."""

    def __init__(self, width: int, heads: int, gelu: Gelu, *, is_causal: bool) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.attn = Attention(width, heads, is_causal=is_causal)
        self.ln_2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential()
        self.mlp.add_module("c_fc", nn.Linear(width, 4 * width))
        self.mlp.add_module("gelu", QuickGELU() if gelu == "quick" else nn.GELU())
        self.mlp.add_module("c_proj", nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens [B, N, D] to tokens."""
        x = x + self.attn(self.ln_1(x))
        mapped: Tensor = x + self.mlp(self.ln_2(x))
        return mapped


class Transformer(nn.Module):
    """Blocks, one behind the other, drawn as the official code draws those of texts.

    Args:
        size: Depth, width and heads.
        gelu: The official code's quick one, or the exact.
        is_causal: Whether a token sees none behind it.
    """

    def __init__(self, size: TransformerSize, gelu: Gelu, *, is_causal: bool) -> None:
        super().__init__()
        blocks = (
            Block(size.width, size.heads, gelu, is_causal=is_causal) for _ in range(size.depth)
        )
        self.resblocks = nn.Sequential(*blocks)
        for block in self.resblocks:
            _draw(block, size)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens [B, N, D] to tokens."""
        mapped: Tensor = self.resblocks(x)
        return mapped


def _draw(block: Any, size: TransformerSize) -> None:
    """Draw normal weights without biases; residual branches less, the more there are."""
    narrow = size.width**-0.5
    branch = narrow * (2 * size.depth) ** -0.5
    nn.init.normal_(block.attn.in_proj_weight, std=narrow)
    nn.init.normal_(block.attn.out_proj.weight, std=branch)
    nn.init.normal_(block.mlp.c_fc.weight, std=(2 * size.width) ** -0.5)
    nn.init.normal_(block.mlp.c_proj.weight, std=branch)
    for layer in (block.attn.out_proj, block.mlp.c_fc, block.mlp.c_proj):
        nn.init.zeros_(layer.bias)


class ImageTransformer(nn.Module):
    """Map images of one size to the last state of their class token, behind a LayerNorm.

    It has one more LayerNorm before the first block than other vision transformers, and no bias on
    the patches.

    Args:
        size: Depth, width and heads.
        image_size: Side of the images that the table of positions is for; it is interpolated for
            others.
        patch_size: Side of a patch, which divides that of every image.
        gelu: As `Transformer` has it.
    """

    def __init__(
        self, size: TransformerSize, *, image_size: int, patch_size: int, gelu: Gelu = "quick"
    ) -> None:
        super().__init__()
        width, scale = size.width, size.width**-0.5
        self.conv1 = nn.Conv2d(3, width, patch_size, stride=patch_size, bias=False)
        self.class_embedding = nn.Parameter(scale * torch.randn(width))
        places = 1 + (image_size // patch_size) ** 2
        self.positional_embedding = nn.Parameter(scale * torch.randn(places, width))
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = Transformer(size, gelu, is_causal=False)
        self.ln_post = nn.LayerNorm(width)
        self.feature_dim = width

    def forward(self, images: Tensor) -> Tensor:
        """Map images [B, 3, H, W] to [B, feature_dim]."""
        tokens: Tensor = self.transformer(self.ln_pre(self._tokens(images)))
        return self.ln_post(tokens[:, 0])

    def _tokens(self, images: Tensor) -> Tensor:
        """Return the class token and the patches row by row, with their places, [B, 1 + N, D]."""
        need_whole_patches(images, self.conv1.kernel_size[0])
        patches = self.conv1(images)  # [B, D, h, w]
        places = resample_positions(self.positional_embedding[None], *patches.shape[2:])
        first = self.class_embedding.expand(patches.shape[0], 1, -1)
        return torch.cat([first, patches.flatten(2).transpose(1, 2)], dim=1) + places


class TextTransformer(nn.Module):
    """Map texts to the last state of their last token, behind a LayerNorm.

    A token sees none behind it, so that the last one alone has seen the whole text, and padding
    behind it is never seen.

    Args:
        size: Depth, width and heads.
        vocabulary: Numbers there are for tokens.
        max_positions: The longest text, in tokens.
        gelu: As `Transformer` has it.
    """

    def __init__(
        self,
        size: TransformerSize,
        *,
        vocabulary: int,
        max_positions: int = 77,
        gelu: Gelu = "quick",
    ) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(vocabulary, size.width)
        self.positional_embedding = nn.Parameter(torch.empty(max_positions, size.width))
        self.transformer = Transformer(size, gelu, is_causal=True)
        self.ln_final = nn.LayerNorm(size.width)
        self.feature_dim, self.max_positions = size.width, max_positions
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.positional_embedding, std=0.01)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Map the ids and mask of texts, [B, L] each, to vectors [B, feature_dim]."""
        states = self.token_embedding(ids) + self.positional_embedding[: ids.shape[1]]
        states = self.transformer(states)
        last = (mask.sum(dim=1) - 1).clamp(min=0)  # a text without tokens is read at its first
        ends = states.gather(1, last[:, None, None].expand(-1, 1, states.shape[2]))
        return self.ln_final(ends[:, 0])
