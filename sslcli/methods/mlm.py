"""Masked-language pre-training: guess hidden words, so that other methods can start from nothing.

Devlin et al. 2019, arXiv:1810.04805, section 3.1, without the next sentence. Traps: hidden words
are 80 % the mask, 10 % any word, 10 % themselves; the start, the end and padding are never hidden;
the guess shares the encoder's table of words.
"""

import math

from torch import nn

from sslcli.config.methods.sentences import MaskedLanguageConfig
from sslcli.data.batch import Batch
from sslcli.distributed.collective import gather_with_gradient
from sslcli.methods.base import Method, Output, Progress
from sslcli.methods.sentences import HiddenWords, joined, mean_of


class MaskedLanguage(Method):
    """Guess hidden words of every view.

    The mean is over the hidden words of all processes.

    Args:
        config: Share of the words.
        encoder: Of texts.
    """

    gathers = True

    def __init__(self, config: MaskedLanguageConfig, encoder: nn.Module) -> None:
        super().__init__()
        self.config = config
        self.encoder = encoder
        self.words = HiddenWords(config, encoder)

    def forward(self, batch: Batch, progress: Progress) -> Output:
        """Return the loss in nats; ln V is that of a guess among V words."""
        loss = mean_of(gather_with_gradient(self.words(self.encoder, joined(batch.texts))))
        chance = math.log(self.config.vocabulary) if self.config.vocabulary else None
        return Output(loss, {"perplexity": loss.detach().exp()}, chance=chance)
