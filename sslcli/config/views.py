"""Sections of views: the random changes that turn an image into a view."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from sslcli.config.pixels import Triple
from sslcli.config.section import Count, Fraction, NonNegative, Positive, Section

# No image has a longer side than the square root of `images.MAX_PIXELS`, about 9,460.
Side = Annotated[int, Field(ge=1, le=16_384)]


class JitterConfig(Section):
    """Colour jitter: four operations in random order.

    `form` is "torchvision" or "tensorflow", whose contrast is about each channel's mean and whose
    saturation is that of HSV. With `add_brightness` a number up to `brightness` is added.
    """

    form: Literal["torchvision", "tensorflow"] = "torchvision"
    add_brightness: bool = False
    brightness: NonNegative
    contrast: NonNegative
    saturation: NonNegative
    hue: Annotated[float, Field(ge=0, le=0.5)]
    probability: Fraction

    @model_validator(mode="after")
    def _check(self) -> "JitterConfig":
        if self.add_brightness and self.form != "tensorflow":
            raise ValueError('add_brightness goes with form = "tensorflow" alone')
        return self


class BlurConfig(Section):
    """Gaussian blur.

    `form` is "window", a Gaussian that is cut off, as torchvision has it, or "pillow", what
    GaussianBlur of Pillow does to 8-bit images. `kernel` is the width of the window in pixels, or
    "auto" for a tenth of the size, made odd.
    """

    probability: Fraction
    sigma: tuple[Positive, Positive]
    form: Literal["window", "pillow"] = "window"
    kernel: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"


class SolarizeConfig(Section):
    """Invert every value at or above `threshold` (images in [0, 1])."""

    probability: Fraction
    threshold: Fraction


# Above 0, since a logarithm is drawn between these bounds.
Ratio = Annotated[float, Field(gt=0, le=100)]


class ExemplarConfig(Section):
    """The transformations of Exemplar-CNN (Dosovitskiy et al. 2014), in place of the crop."""

    vectors: Count = Field(description="Parameter vectors a row has; a view shows one of them.")
    window: Annotated[float, Field(gt=0, le=1)] = Field(
        description="Side of what is seen, as a share of the image's."
    )
    translation: Fraction = Field(description="Largest shift, in sides of the window.")
    scale: tuple[Ratio, Ratio]
    rotation: Annotated[float, Field(ge=0, le=180)] = Field(description="Largest, in degrees.")
    components: tuple[Ratio, Ratio] = Field(description="Factor on each component of colour.")
    basis: tuple[Triple, Triple, Triple] = Field(description="Those components, orthonormal rows.")
    power: tuple[Ratio, Ratio] = Field(description="Of saturation and of value.")
    factor: tuple[Ratio, Ratio] = Field(description="On saturation and on value.")
    offset: Fraction = Field(description="Largest, added to saturation and to value.")
    hue: Annotated[float, Field(ge=0, le=0.5)] = Field(description="Largest turn, in circles.")

    @model_validator(mode="after")
    def _check(self) -> "ExemplarConfig":
        for name in ("scale", "components", "power", "factor"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name} must rise from its first to its second number")
        return self


Operation = Literal["crop", "jitter", "grayscale", "blur", "solarize", "flip", "autoaugment"]


class PatchConfig(Section):
    """Cut a view into a square grid of patches that overlap evenly (CPC).

    The view is cropped and flipped as a whole. Each patch then draws its own part, operations and
    flip, and then its own colours and blur.
    """

    grid: Annotated[int, Field(ge=2, le=64)] = Field(description="Patches in a row and a column.")
    side: Side = Field(description="Side of a patch in pixels.")
    part: Side | None = Field(
        default=None,
        description="Side of what is kept of each patch, cut anywhere in it and put into its "
        "middle, on black (CPC v1).",
    )
    operations: Annotated[int, Field(ge=0, le=4)] = Field(
        default=0,
        description="Operations that each patch goes through, drawn from AutoAugment's sixteen "
        "(CPC v2); on 8-bit pixels.",
    )
    flip: Fraction = Field(default=0.0, description="Chance to mirror a patch by itself (CPC v2).")

    @model_validator(mode="after")
    def _check(self) -> "PatchConfig":
        if self.part and self.part > self.side:
            raise ValueError("patches.part is at most patches.side")
        return self


class ViewConfig(Section):
    """`count` views of one recipe; `order` is the order of execution."""

    count: Count
    size: Side
    crop_scale: tuple[Fraction, Fraction]
    crop_ratio: tuple[Positive, Positive] = (3 / 4, 4 / 3)
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    pad: Annotated[int, Field(ge=0)] = Field(
        default=0,
        description="Pixels by which the whole image is continued on each side, by reflection, "
        "before a square of `size` is cut anywhere: JEM's crop. With `resize`, by black.",
    )
    resize: Side | None = Field(
        default=None,
        description="Shorter side to which the whole image is resized, before a square of `size` "
        "is cut anywhere: a random crop, such as 256 of 300.",
    )
    pad_probability: Fraction = Field(
        default=1.0, description="Otherwise the square in the middle, which is the image (AMDIM)."
    )
    flip: Fraction = 0.0
    jitter: JitterConfig | None = None
    grayscale: Fraction = 0.0
    blur: BlurConfig | None = None
    solarize: SolarizeConfig | None = None
    exemplar: ExemplarConfig | None = None
    autoaugment: Literal["imagenet", "v0"] | None = Field(
        default=None,
        description="The policy of Cubuk et al. 2019 for ImageNet, as torchvision has it, or that "
        "of TensorFlow's models, which SupCon's code uses; on 8-bit pixels.",
    )
    order: tuple[Operation, ...] = ("crop", "jitter", "grayscale", "blur", "solarize", "flip")
    shared: tuple[Operation, ...] = Field(
        default=(),
        description="Operations that all `count` views do alike, as drawn for the first of them.",
    )
    patches: PatchConfig | None = None

    @model_validator(mode="after")
    def _check(self) -> "ViewConfig":
        if self.order[:1] != ("crop",) or len(set(self.order)) != len(self.order):
            raise ValueError("order must begin with crop and name each operation at most once")
        used = {"jitter": self.jitter, "blur": self.blur, "solarize": self.solarize,
                "grayscale": self.grayscale, "flip": self.flip,
                "autoaugment": self.autoaugment}  # fmt: skip
        if missing := [name for name, value in used.items() if value and name not in self.order]:
            raise ValueError(f"order leaves out {', '.join(missing)}, which this view asks for")
        if (
            self.autoaugment
            and self.flip
            and self.order.index("autoaugment") < self.order.index("flip")
        ):
            raise ValueError("order must name flip before autoaugment: it is done with the crop")
        if unknown := [name for name in self.shared if name not in self.order]:
            raise ValueError(f"shared names {', '.join(unknown)}, which order leaves out")
        if self.exemplar and "crop" in self.shared:
            raise ValueError("exemplar draws its own window: shared cannot name crop")
        if self.patches:
            between, gaps = self.size - self.patches.side, self.patches.grid - 1
            if between < gaps or between % gaps:
                raise ValueError("patches do not lie evenly: grid - 1 must divide size - side")
        whole = self.crop_scale == self.crop_ratio == (1, 1)
        if self.exemplar and not whole:
            raise ValueError(
                "exemplar takes the crop's place: crop_scale and crop_ratio are [1, 1]"
            )
        if (self.pad or self.resize) and not whole:
            name = "pad" if self.pad else "resize"
            raise ValueError(
                f"{name} cuts from the whole image: crop_scale and crop_ratio are [1, 1]"
            )
        if self.resize and (self.exemplar or self.resize + 2 * self.pad < self.size):
            raise ValueError("resize with pad is at least size, and goes without exemplar")
        if self.pad >= self.size or (self.pad and self.exemplar):
            raise ValueError("pad is below size, and goes without exemplar")
        for name in ("crop_scale", "crop_ratio"):
            low, high = getattr(self, name)
            if low > high or high == 0:
                raise ValueError(f"{name} must rise from its first to its second number")
        if self.blur and self.blur.sigma[0] > self.blur.sigma[1]:
            raise ValueError("blur.sigma must rise from its first to its second number")
        if self.blur and self.blur.kernel != "auto" and self.blur.kernel % 2 == 0:
            raise ValueError("blur.kernel must be odd")
        if self.blur and self.blur.form == "pillow" and self.blur.kernel != "auto":
            raise ValueError('blur.form = "pillow" has no window: leave out blur.kernel')
        return self


class RepeatConfig(Section):
    """Repeat some tokens of a text right behind themselves.

    ESimCSE, arXiv:2109.04380, section 3.1. Never one that stands for no part of the text, such as
    its end.
    """

    unit: Literal["subword", "word"] = Field(
        description="Numbers of the tokenizer, or what stands between spaces before it cuts words."
    )
    rate: Fraction = Field(description="The dup_rate: most repetitions, as a share of the text.")
    draw: Literal["paper", "code"] = Field(
        default="paper",
        description="How many: 0 to max(2, rate * length), both included, or what the official "
        "code draws, which is less, and not more than 9.",
    )


class TextViewConfig(Section):
    """`count` views of a text, in tokens."""

    count: Count = 1
    max_length: Annotated[int, Field(ge=1, le=2**20)] = Field(
        description="Tokens that are kept of a text."
    )
    sentence: Literal[1, 2, 3] = Field(
        default=1, description="Which sentence of a row: of a pair 1 or 2, of a triplet 3 too."
    )
    repeat: RepeatConfig | None = None
