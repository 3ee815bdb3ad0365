"""Methods of texts, and of images with texts, in a few lines each, as a user would write them.

`ssl pretrain --preset tests/toy_text.toml --method tests/toys.py:ToyText` trains on captions,
`--method tests/toys.py:ToyTowers` on the images too.
"""

import math

import torch
from torch import nn

from sslcli.config.families import FAMILIES, Family
from sslcli.config.section import MethodSection
from sslcli.distributed.collective import gather_with_gradient
from sslcli.losses.contrastive import nt_xent
from sslcli.methods.base import BatchContrast, Output, feature_dim


class Words(nn.Module):
    """The mean of bytes' embeddings, then a layer: [B, L] numbers to [B, 16]."""

    feature_dim = 16

    def __init__(self):
        super().__init__()
        self.bytes, self.layer = nn.Embedding(257, 16), nn.Linear(16, 16)

    def forward(self, ids, mask):
        found = self.bytes(ids) * mask[..., None]  # [B, L, 16]
        return self.layer(found.sum(dim=1) / mask.sum(dim=1, keepdim=True).clamp(min=1))


def build_words(config, image_size):
    return Words()


if not any(family.matches("toy-words") for family in FAMILIES):
    FAMILIES.append(Family(lambda name: name == "toy-words", build_words, reads="text"))


class Toy(BatchContrast):
    """Tell each sample from the others by two embeddings; `noise` is what a resume must restore."""

    def __init__(self, config, encoder):
        super().__init__()
        self.config, self.encoder = config, encoder
        self.register_buffer("centre", torch.zeros(16))

    def compare(self, embeddings, batch, progress):
        a, b = (gather_with_gradient(z + self.noise(z)) for z in embeddings)
        carry, chance = {"z": embeddings[0].detach()}, math.log(2 * len(a) - 1)
        return Output(nt_xent(a, b, 0.5), carry=carry, chance=chance)

    def noise(self, z):
        return self.config.noise * torch.randn_like(z)

    def after_step(self, progress, carry):
        self.centre.lerp_(gather_with_gradient(carry["z"]).mean(dim=0).to(self.centre), 0.1)


class ToyText(Toy):
    """Two views of a text; the head adds a vector for its first token."""

    class Section(MethodSection):
        reads, min_views, min_texts = frozenset({"text"}), 0, 2
        contrasts_batch = True
        noise: float = 0.1
        vocabulary: int | None = None

        def complete(self, facts):
            return self.model_copy(update={"vocabulary": facts.vocabulary})

    def __init__(self, config, encoder):
        super().__init__(config, encoder)
        self.first = nn.Embedding(config.vocabulary, 16)

    def embed(self, batch):
        texts = batch.texts[:2]
        return tuple(self.encoder(t.ids, t.mask) + self.first(t.ids[:, 0]) for t in texts)


class ToyTowers(Toy):
    """An image and its caption."""

    class Section(MethodSection):
        reads, min_texts = frozenset({"image", "text"}), 1
        contrasts_batch = True
        noise: float = 0.1

    def __init__(self, config, encoder):
        super().__init__(config, encoder)
        self.projector, self.text_encoder = nn.Linear(feature_dim(encoder), 16), Words()

    def embed(self, batch):
        (text, *_) = batch.texts
        return self.projector(self.encoder(batch.views[0])), self.text_encoder(text.ids, text.mask)

    def towers(self):
        return {"image": nn.Sequential(self.encoder, self.projector), "text": self.text_encoder}
