"""Transformers that encode sentences: BERT's and RoBERTa's layers, with a read-out of one vector.

Devlin et al. 2019, arXiv:1810.04805; Liu et al. 2019, arXiv:1907.11692. The layers are those of the
package transformers, and tensors have their names there, so that a Hugging Face folder fits. BERT's
own pooler, which next-sentence prediction trained, is not built.
"""

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from transformers import BertConfig
from transformers.models.bert.modeling_bert import BertEmbeddings, BertLayer

from sslcli.config.architectures import BertSize
from sslcli.nn.pooling import pool

Change = Callable[[Tensor], Tensor]


@runtime_checkable
class HasHiddenStates(Protocol):
    """An encoder of texts that shows the states of its tokens.

    Attributes:
        feature_dim: Entries of a token's state, and of a sentence's vector.
        pooler: How `forward` makes one vector of them, as `nn.pooling` has it or "cls".
    """

    feature_dim: int
    pooler: str

    def hidden_states(
        self,
        ids: Tensor,
        mask: Tensor,
        *,
        positions: Tensor | None = None,
        change: Change | None = None,
    ) -> Sequence[Tensor]:
        """Return the output of the embeddings and of each layer, [B, L, H] each."""


class SentenceHead(nn.Sequential):
    """SimCSE's head: one linear layer and tanh, drawn anew (arXiv:2104.08821, section 6.3).

    Args:
        dim: Entries of a vector, before and behind.
    """

    def __init__(self, dim: int) -> None:
        super().__init__(nn.Linear(dim, dim), nn.Tanh())
        self.apply(_draw)


class BertStack(nn.Module):
    """The layers, one behind the other.

    Args:
        config: Of transformers.
    """

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        layers = (BertLayer(config, layer_idx=number) for number in range(config.num_hidden_layers))
        self.layer = nn.ModuleList(layers)

    def forward(self, states: Tensor, mask: Tensor) -> list[Tensor]:
        """Return the output of each layer, [B, L, H], for states of tokens and their mask."""
        outputs = []
        for layer in self.layer:
            states = layer(states, mask)
            outputs.append(states)
        return outputs


class Bert(nn.Module):
    """Map sentences to vectors.

    Args:
        size: Layers, width and heads; whether it is RoBERTa's kind.
        vocabulary: Numbers there are for tokens.
        max_positions: The longest text, in tokens.
        dropout: Of hidden states and attention weights; in training it is SimCSE's noise.
        pooler: What `forward` returns: a kind of `nn.pooling`, "cls_before_pooler" for the state of
            the first token, or "cls" for that behind a `SentenceHead`.
    """

    def __init__(
        self,
        size: BertSize,
        *,
        vocabulary: int,
        max_positions: int = 512,
        dropout: float = 0.1,
        pooler: str = "cls_before_pooler",
    ) -> None:
        super().__init__()
        config = BertConfig(
            vocab_size=vocabulary,
            hidden_size=size.width,
            num_hidden_layers=size.depth,
            num_attention_heads=size.heads,
            intermediate_size=4 * size.width,
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=dropout,
            max_position_embeddings=max_positions + size.first_position,
            type_vocab_size=size.token_types,
            pad_token_id=size.padding,
            layer_norm_eps=size.eps,
        )
        config._attn_implementation = "sdpa"
        self.feature_dim, self.pooler = size.width, pooler
        self.first_position, self.max_positions = size.first_position, max_positions
        self.embeddings = BertEmbeddings(config)
        self.encoder = BertStack(config)
        self.apply(_draw)
        with torch.no_grad():
            self.embeddings.word_embeddings.weight[size.padding].zero_()
        if pooler == "cls":
            self.head = SentenceHead(size.width)

    def hidden_states(
        self,
        ids: Tensor,
        mask: Tensor,
        *,
        positions: Tensor | None = None,
        change: Change | None = None,
    ) -> list[Tensor]:
        """Return the output of the embeddings and of each layer, [B, L, H] each.

        Args:
            ids: Numbers of tokens, [B, L] int64.
            mask: Whether a place holds one, [B, L] bool.
            positions: Place of each token from 0 on, [B, L] int64; None for their order.
            change: Applied to the output of the embeddings, behind their LayerNorm and dropout.
        """
        if positions is None:
            positions = torch.arange(ids.shape[1], device=ids.device)[None]
        states = self.embeddings(ids, position_ids=positions + self.first_position)
        states = change(states) if change else states
        is_first = torch.arange(ids.shape[1], device=ids.device) == 0
        seen = (mask | is_first)[:, None, None]  # [B, 1, 1, L]; a text without tokens sees one
        return [states, *self.encoder(states, seen)]

    def pooled(self, states: Sequence[Tensor], mask: Tensor) -> Tensor:
        """Return the vectors of sentences, [B, H], by this network's own pooler."""
        vectors = pool(states, mask, kind_of(self.pooler))
        return self.head(vectors) if self.pooler == "cls" else vectors

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Map the ids and mask of sentences, [B, L] each, to vectors [B, feature_dim]."""
        return self.pooled(self.hidden_states(ids, mask), mask)

    def extra_repr(self) -> str:
        """Show the read-out, which the weights do not tell."""
        return f"pooler={self.pooler!r}"


def kind_of(pooler: str) -> str:
    """Return the kind of `nn.pooling` that a pooler takes before a head, if it has one."""
    return "cls" if pooler == "cls_before_pooler" else pooler


def _draw(module: nn.Module) -> None:
    """Draw weights as BERT does: normal of deviation 0.02, without biases."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
