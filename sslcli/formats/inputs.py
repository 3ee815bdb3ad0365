"""The inputs of an exported network: how it is tried, and how its user makes them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from sslcli.config.pixels import Pixels
from sslcli.config.section import Column
from sslcli.data.images.color import to_space
from sslcli.formats import preprocessing

Network = Callable[..., Tensor]


class Normalize(nn.Module):
    """Convert red, green and blue in [0, 1] to a colour space, and normalise, [B, 3, S, S].

    Args:
        pixels: The space, the mean and the deviation.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, pixels: Pixels) -> None:
        super().__init__()
        self.space = pixels.space
        for name, values in (("mean", pixels.mean), ("std", pixels.std)):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Return what an encoder of the space takes."""
        return (to_space(images, self.space) - self.mean) / self.std


class FromPixels(nn.Module):
    """A network with the steps from red, green and blue in [0, 1] to its input before it."""

    def __init__(self, network: nn.Module, pixels: Pixels) -> None:
        super().__init__()
        assert isinstance(network.feature_dim, int)
        self.normalize, self.network = Normalize(pixels), network
        self.feature_dim = network.feature_dim

    def forward(self, images: Tensor) -> Tensor:
        """Map [B, 3, S, S] in [0, 1] to [B, feature_dim]."""
        features: Tensor = self.network(self.normalize(images))
        return features


@dataclass(frozen=True)
class ImageInput:
    """Normalised images, [B, 3, S, S] float32; in [0, 1] where the file normalises them.

    Attributes:
        pixels: Their size, colour space and statistics.
        inside: Whether the file holds the steps from red, green and blue in [0, 1] to these.
        reads: The column of the data that they are made of.
        names: Of the network's arguments, in order.
        axes: Which dimensions of each argument are free, by number, with a name.
    """

    pixels: Pixels
    inside: bool = False
    reads: ClassVar[Column] = "image"
    names: ClassVar = ("images",)
    axes: ClassVar = ({0: "batch"},)

    @property
    def image_size(self) -> int:
        """Side of the images."""
        return self.pixels.image_size

    @property
    def note(self) -> tuple[str, ...]:
        """Python that makes `images` of a photo."""
        return preprocessing.lines(self.pixels, inside=self.inside)

    @property
    def facts(self) -> dict[str, Any]:
        """Every step from a file to a tensor."""
        pixels = self.pixels
        return {
            "preprocessing": preprocessing.described(pixels, inside=self.inside),
            "space": pixels.space,
            "image_size": pixels.image_size,
            "mean": pixels.mean,
            "std": pixels.std,
        }

    def probes(self) -> list[tuple[Tensor, ...]]:
        """Return smooth images, noise, and black and white among smooth ones.

        The smooth ones have the range and the low frequencies of photographs, the noise has all
        frequencies, and black and white are the corners of the range.
        """
        generator = torch.Generator().manual_seed(0)
        size = (self.image_size, self.image_size)
        coarse = torch.rand(4, 3, 4, 4, generator=generator)
        smooth = functional.interpolate(coarse, size, mode="bilinear")
        noise = torch.randn(3, 3, *size, generator=generator)
        corners = torch.stack([torch.zeros(3, *size), torch.ones(3, *size)])
        last = torch.cat([smooth[1:], corners])
        if self.inside:
            return [(smooth[:1],), (noise.sigmoid(),), (last,)]
        normalize = Normalize(self.pixels)
        return [(normalize(smooth[:1]),), (noise,), (normalize(last),)]

    def example(self) -> tuple[Tensor, ...]:
        """Return two black images."""
        return (torch.zeros(2, 3, self.image_size, self.image_size),)


@dataclass(frozen=True)
class TextInput:
    """Tokens of sentences: their numbers [B, L] int64, and a mask [B, L] bool of no padding.

    Attributes:
        max_length: Most tokens of a sentence.
        vocabulary: Numbers of tokens are below it.
        tokenizer: Content of its tokenizer.json; empty for one that is no file.
        end: Number of the token that ends every text; None where none does.
        reads: The column of the data that they are made of.
        names: Of the network's arguments, in order.
        axes: Which dimensions of each argument are free, by number, with a name.
    """

    max_length: int
    vocabulary: int
    tokenizer: str = ""
    end: int | None = None
    reads: ClassVar[Column] = "text"
    names: ClassVar = ("ids", "mask")
    axes: ClassVar = ({0: "batch", 1: "length"},) * 2
    image_size: ClassVar = 0  # there are no images

    @property
    def note(self) -> tuple[str, ...]:
        """Say what `ids` and `mask` are."""
        return (
            f"# ids: the tokenizer's numbers, [sentences, at most {self.max_length}] int64",
            "# mask: the same shape, true where there is a token and no padding",
        )

    @property
    def facts(self) -> dict[str, Any]:
        """The length and the vocabulary."""
        return {"max_length": self.max_length, "vocabulary": self.vocabulary}

    def probes(self) -> list[tuple[Tensor, ...]]:
        """Return sentences of random tokens, of the full length and shorter."""
        generator = torch.Generator().manual_seed(0)
        lengths = [[self.max_length], [1, 2, 3], [1, 2, 3, 4, self.max_length]]
        return [self._sentences(each, generator) for each in lengths]

    def _sentences(self, lengths: list[int], generator: torch.Generator) -> tuple[Tensor, ...]:
        ends = torch.tensor(lengths).clamp(max=self.max_length)
        mask = torch.arange(int(ends.max())) < ends[:, None]  # [B, L]
        ids = torch.randint(self.vocabulary, mask.shape, generator=generator)
        if self.end is not None:
            ids[ids == self.end] = (self.end + 1) % self.vocabulary
            ids[range(len(ids)), mask.sum(dim=1) - 1] = self.end
        return ids * mask, mask

    def example(self) -> tuple[Tensor, ...]:
        """Return two sentences."""
        return self._sentences([2, self.max_length], torch.Generator().manual_seed(0))


@dataclass(frozen=True)
class PairInput:
    """Images, and the tokens of as many texts.

    Attributes:
        image: The images.
        text: The texts.
        reads: The column of the data that is named first.
        names: Of the network's arguments, in order.
        axes: Which dimensions of each argument are free, by number, with a name.
    """

    image: ImageInput
    text: TextInput
    reads: ClassVar[Column] = "image"
    names: ClassVar = (*ImageInput.names, *TextInput.names)
    axes: ClassVar = (*ImageInput.axes, *TextInput.axes)

    @property
    def image_size(self) -> int:
        """Side of the images."""
        return self.image.image_size

    @property
    def note(self) -> tuple[str, ...]:
        """Return nothing: the files say how their inputs are made."""
        return ()

    @property
    def facts(self) -> dict[str, Any]:
        """Those of images and of texts."""
        return self.image.facts | self.text.facts

    def probes(self) -> list[tuple[Tensor, ...]]:
        """Return those of images, beside as many of texts."""
        pairs = zip(self.image.probes(), self.text.probes(), strict=True)
        return [(*images, *texts) for images, texts in pairs]

    def example(self) -> tuple[Tensor, ...]:
        """Return two images and two sentences."""
        return (*self.image.example(), *self.text.example())


Inputs = ImageInput | TextInput | PairInput


def dynamic_shapes(inputs: Inputs) -> tuple[dict[int, Any], ...]:
    """Return the dimensions that a graph leaves free: a name stands for one size in all.

    A table of positions ends, so a text's length has a bound.
    """
    most = {"length": inputs.max_length} if isinstance(inputs, TextInput) else {}
    names = {
        name: torch.export.Dim(name, max=most.get(name))
        for axes in inputs.axes
        for name in axes.values()
    }
    return tuple({at: names[name] for at, name in axes.items()} for axes in inputs.axes)
