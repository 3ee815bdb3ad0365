"""The section `encoder`: the network that is kept, and its settings."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from sslcli.config.section import Section
from sslcli.config.views import Side

# SimCLR's widest encoder has 256; the bounds keep the product of two sizes within 64 bits.
Width = Annotated[int, Field(ge=1, le=4_096)]
Channel = Literal[0, 1, 2, "dx", "dy"]


def _part(channels: tuple[Channel, ...]) -> tuple[Channel, ...]:
    if not channels or len(set(channels)) < len(channels):
        raise ValueError("a part of split names at least one channel, and none twice")
    return channels


Part = Annotated[tuple[Channel, ...], AfterValidator(_part)]

Gelu = Literal["quick", "exact"]
Pooler = Literal["cls", "cls_before_pooler", "avg", "avg_top2", "avg_first_last", "avg_emb_last"]


class EncoderConfig(Section):
    """The network that is kept.

    `name` is a torchvision ResNet ("resnet18"), a member of the CIFAR family of He et al. 2016,
    section 4.2 ("resnet20", depth 6n + 2), a wide ResNet as "wrn-DEPTH-WIDENING" ("wrn-28-10"), one
    of IGEBM's networks ("igebm-small", "igebm-large"), a vision transformer ("vit-tiny",
    "vit-small", "vit-base", or "vit-DEPTH-WIDTH-HEADS"), one of Exemplar-CNN's ("exemplar-small",
    "exemplar-medium", "exemplar-large"), CMC's "half-alexnet", a network that CPC runs over patches
    ("cpc-resnet14", "cpc-resnet50", "cpc-resnet101", "cpc-resnet161", "cpc-wrn-28-2"), one of
    AMDIM's as "amdim-DIM-DEPTH" ("amdim-1024-3", the code's n_rkhs and n_depth; its ndf is
    `width`), or any timm model as "timm:NAME".
    Of sentences: BERT's or RoBERTa's as "bert-DEPTH-WIDTH-HEADS" and "roberta-DEPTH-WIDTH-HEADS".
    CLIP's own towers: "clip-resnet50", "clip-resnet101", "clip-vit-DEPTH-WIDTH-HEADS" and, of
    texts, "clip-text-DEPTH-WIDTH-HEADS".
    """

    name: str
    stem: Literal["imagenet", "cifar"] = "imagenet"
    stem_stride: Literal[1, 2] = Field(
        default=1, description="Stride of the CIFAR stem; 2 makes every map four times smaller."
    )
    stem_padding: Literal[1, 2] = Field(
        default=1, description="Padding of the CIFAR stem; solo-learn's published numbers use 2."
    )
    width: Width | None = Field(
        default=None,
        description="Channels of the first stage; when unset 64, 16 in the CIFAR family, "
        "128 in AMDIM's networks.",
    )
    stem_width: Width | None = Field(
        default=None,
        description="Channels of the stem of torchvision's ResNets; when unset those of the first "
        "stage. CMC's have 64 at every width.",
    )
    split: Annotated[tuple[Part, ...], Field(min_length=1)] | None = Field(
        default=None,
        description="Channels that each of several networks sees, whose features stand side by "
        "side: of ResNets and half-alexnet. [[0], [1, 2]] is CMC's L and ab when data.space is "
        "lab; dx and dy are the gradients of channel 0.",
    )
    zero_init_residual: bool = False
    stem_kernel: Literal[3, 5] = Field(
        default=3, description="Side of the CIFAR stem's kernel in CPC's ResNets; 5 on STL-10."
    )
    norm: Literal["batch", "layer", "none"] = Field(
        default="batch",
        description="Of wide ResNets and CPC's networks; layer norm is over channels and places. "
        "In AMDIM's networks, which have no layer norm, that of hidden layers.",
    )
    activation: Literal["relu", "leaky-relu", "silu"] = Field(
        default="relu",
        description="Of wide ResNets and IGEBM's networks; leaky-relu has slope 0.2.",
    )
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.0,
        description="Within each block of wide ResNets and IGEBM's networks; behind Exemplar-CNN's "
        "fully connected layer; of BERT's hidden states and attention.",
    )
    conv_bias: bool = Field(
        default=True, description="Off in IGEBM's networks when each class has its own bias."
    )
    form: Literal["rosinality", "openai"] = Field(
        default="rosinality",
        description="Of IGEBM's networks: that of rosinality/igebm-pytorch, or the authors' own "
        "(openai/ebm_code_release), with a 3x3 shortcut where widths change alone, biases on the "
        "inputs of convolutions, and a gain behind each block's second one.",
    )
    patch_size: Side | None = Field(
        default=None,
        description="Side of a vision transformer's patches, 16 pixels when unset, or of CPC's.",
    )
    patch_stride: Side | None = Field(
        default=None, description="Pixels from one of CPC's patches to the next."
    )
    positions: Literal["learned", "sin-cos"] = Field(
        default="learned", description="Of vision transformers; the sin-cos table is fixed."
    )
    init: Literal["normal", "xavier"] = Field(
        default="normal", description="Draw of vision transformers: DINO's, or MoCo v3's xavier."
    )
    drop_path: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.0, description="Chance to skip a branch of a vision transformer's last block."
    )
    vocabulary: Annotated[int, Field(ge=2, le=2**20)] | None = Field(
        default=None,
        description="Rows of a sentence encoder's table of tokens; when unset, the tokenizer's.",
    )
    max_positions: Annotated[int, Field(ge=2, le=2**16)] = Field(
        default=512, description="Tokens of the longest text that a sentence encoder takes."
    )
    pooler: Pooler = Field(
        default="cls_before_pooler",
        description="How a sentence encoder makes a vector of its tokens: the first one's (behind "
        "the head: cls), the mean of the last layer, of the last two, of the first and the last, "
        "or of the embeddings and the last. Every evaluation and export takes this one.",
    )
    gelu: Gelu = Field(
        default="quick",
        description="Of CLIP's transformers: the official code's quick one, or the exact one that "
        "most weights of open_clip were trained with.",
    )
    outputs: Width | None = Field(
        default=None,
        description="Entries that the pool of CLIP's ResNets gives; when unset half the channels "
        "of the last maps.",
    )
    normalize_features: bool = Field(
        default=False,
        description="Give unit vectors, to the head and to everything after training (SupCon).",
    )
    weights: str | None = Field(
        default=None,
        description="Weights to start from: a file, a run, a Hugging Face folder, hf:ORG/NAME.",
    )

    @property
    def channels(self) -> int:
        """The channels that a network takes; of several networks, the first."""
        return len(self.split[0]) if self.split else 3


def fitting_sizes(size: int, side: int, stride: int) -> tuple[int, int] | None:
    """Return the nearest sizes of image that patches cover evenly; None if they cover this one."""
    steps = (size - side) // stride
    if steps >= 0 and steps * stride == size - side:
        return None
    below = side + max(0, steps) * stride
    return below, below + stride
