"""Parts that the methods of sentences share: vectors of a batch in one pass, hidden words."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sslcli.config.methods.sentences import MaskingSection, VectorSection
from sslcli.data.batch import Tokens
from sslcli.errors import ConfigError
from sslcli.nn.bert import HasHiddenStates, SentenceHead, kind_of
from sslcli.nn.pooling import pool

_KEPT, _RANDOM = 0.1, 0.1  # of the hidden tokens: left as they are, replaced by any (BERT)


class Vectors(nn.Module):
    """Make vectors of sentences as training does: by its own pooler, behind its own head.

    It holds no encoder, which belongs to the method; the head is what training alone has.

    Args:
        config: Of the read-out in training, and whether the encoder learns.
        encoder: Of texts; it gets no gradients where the config freezes it.

    Raises:
        ConfigError: If the encoder has no hidden states, a head that training would not use, or is
            frozen with nothing else to train.
    """

    def __init__(self, config: VectorSection, encoder: nn.Module) -> None:
        super().__init__()
        if not isinstance(encoder, HasHiddenStates):
            hint = "use one such as bert-2-128-2, or weights of BERT or RoBERTa with `init`"
            raise ConfigError("this encoder shows no states of tokens", "encoder.name", hint)
        self.pooler: str = config.pooler or encoder.pooler
        self.is_encoders = self.pooler == encoder.pooler
        if encoder.pooler == "cls" and not self.is_encoders:
            what = f"the encoder's head (encoder.pooler = cls) would not learn by {self.pooler}"
            raise ConfigError(what, "method.pooler", "leave it out, or set another encoder.pooler")
        has_head = self.pooler == "cls" and not self.is_encoders
        self.head: nn.Module = SentenceHead(encoder.feature_dim) if has_head else nn.Identity()
        if config.freeze and not has_head:
            hint = 'set method.pooler = "cls" beside another encoder.pooler'
            what = "a frozen encoder leaves a head alone to train, and there is none"
            raise ConfigError(what, "method.freeze", hint)
        encoder.requires_grad_(not config.freeze)

    def forward(self, encoder: Any, states: Sequence[Tensor], mask: Tensor) -> Tensor:
        """Map the hidden states of sentences and their mask to vectors [B, H]."""
        if self.is_encoders:
            vectors: Tensor = encoder.pooled(states, mask)
            return vectors
        vectors = self.head(pool(states, mask, kind_of(self.pooler)))
        return vectors

    def of(self, encoder: Any, texts: Sequence[Tokens]) -> list[Tensor]:
        """Return the vectors of each view, [B, H], from one pass over all of them."""
        together = joined(texts)
        states = encoder.hidden_states(together.ids, together.mask)
        return list(self(encoder, states, together.mask).chunk(len(texts)))


def joined(texts: Sequence[Tokens]) -> Tokens:
    """Return views of texts one behind the other, padded to the longest, [V * B, L]."""
    longest = max(each.ids.shape[1] for each in texts)
    pads = [(0, longest - each.ids.shape[1]) for each in texts]
    pairs = list(zip(texts, pads, strict=True))
    return Tokens(
        torch.cat([functional.pad(each.ids, pad) for each, pad in pairs]),
        torch.cat([functional.pad(each.mask, pad) for each, pad in pairs]),
    )


class HiddenWords(nn.Module):
    """Guess hidden words from the others (Devlin et al. 2019, arXiv:1810.04805, appendix A).

    The guess is a layer, GELU and LayerNorm behind the last states, times the encoder's own table
    of tokens.

    Args:
        config: Share of the tokens and what the tokenizer tells of them.
        encoder: Of texts, with a table of tokens.

    Raises:
        ConfigError: If the tokenizer has no number that hides a token.
    """

    specials: Tensor

    def __init__(self, config: MaskingSection, encoder: nn.Module) -> None:
        super().__init__()
        if config.vocabulary is not None and config.mask_token is None and config.specials:
            what = "this tokenizer has no number that stands for a hidden token"
            raise ConfigError(what, "tokenizer", "use words, wordpiece, or one with [MASK]")
        self.config = config
        table = _table(encoder)
        width = table.shape[1]
        self.layer, self.norm = nn.Linear(width, width), nn.LayerNorm(width, eps=1e-12)
        self.bias = nn.Parameter(torch.zeros(len(table)))
        specials = torch.tensor(config.specials, dtype=torch.int64)
        self.register_buffer("specials", specials, persistent=False)

    def forward(self, encoder: Any, texts: Tokens) -> Tensor:
        """Return each text's summed cross-entropy and hidden tokens, [B, 2] float32.

        Of a text's n tokens n * probability are hidden, rounded up or down by chance, where BERT's
        code draws each token by itself: the mean is the same and the number of guesses bounded, so
        that nothing is read back from the device.
        """
        assert self.config.mask_token is not None, "completed by the tokenizer"
        places, is_hidden = self._drawn(texts)  # [B, K] each
        truth = texts.ids.gather(1, places)
        shown = self._replaced(truth, is_hidden)
        ids = texts.ids.scatter(1, places, shown)
        states = encoder.hidden_states(ids, texts.mask)[-1]
        states = states.gather(1, places[..., None].expand(-1, -1, states.shape[-1]))
        guesses = self.norm(functional.gelu(self.layer(states)))
        logits = functional.linear(guesses, _table(encoder), self.bias)  # [B, K, V]
        losses = functional.cross_entropy(
            logits.float().flatten(0, 1), truth.flatten(), reduction="none"
        ).view_as(truth)
        return torch.stack([(losses * is_hidden).sum(dim=1), is_hidden.sum(dim=1).float()], dim=1)

    def _drawn(self, texts: Tokens) -> tuple[Tensor, Tensor]:
        """Choose the places to hide, and say which of them count: a short text has fewer."""
        device, share = texts.ids.device, self.config.mask_probability
        allowed = texts.mask & ~torch.isin(texts.ids, self.specials)
        coin = torch.rand(len(texts), device=device)
        counts = (allowed.sum(dim=1) * share + coin).long()  # [B]
        most = min(int(texts.ids.shape[1] * share) + 1, texts.ids.shape[1])
        keys = torch.rand(allowed.shape, device=device).masked_fill(~allowed, torch.inf)
        places = keys.argsort(dim=1)[:, :most]
        return places, torch.arange(most, device=device) < counts[:, None]

    def _replaced(self, truth: Tensor, is_hidden: Tensor) -> Tensor:
        """Return what is shown: of hidden tokens 80 % the mask, 10 % any token, 10 % themselves."""
        draw = torch.rand(truth.shape, device=truth.device)
        anything = torch.randint_like(truth, self.config.vocabulary or 1)
        shown = torch.where(draw < _RANDOM, anything, torch.full_like(truth, self._mask))
        return torch.where(is_hidden & (draw < 1 - _KEPT), shown, truth)

    @property
    def _mask(self) -> int:
        assert self.config.mask_token is not None
        return self.config.mask_token


def _table(encoder: Any) -> Tensor:
    """Return an encoder's table of tokens, [V, H]."""
    table: Tensor = encoder.embeddings.word_embeddings.weight
    return table


def mean_of(sums: Tensor) -> Tensor:
    """Return the mean loss of sums and counts, [B, 2]; 0 where nothing is hidden."""
    return sums[:, 0].sum() / sums[:, 1].sum().clamp(min=1)
