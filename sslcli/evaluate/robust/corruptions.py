"""The common corruptions, with the five severities of CIFAR-10-C.

Hendrycks & Dietterich 2019, arXiv:1903.12261; numbers from the authors' make_cifar_c.py. They are
made for 32 pixels; lengths are the same at other sizes, since the authors do not say how to scale
them. Frost and spatter of their nineteen are left out: frost needs their photographs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor

from sslcli.errors import UsageError
from sslcli.evaluate.robust import blur, digital, noise, weather
from sslcli.evaluate.robust.draws import Draws

SEVERITIES = 5


@dataclass(frozen=True)
class Corruption:
    """One kind of corruption.

    Attributes:
        name: As options and metrics have it.
        kind: noise, blur, weather or digital.
        stream: Stream of its random numbers, which no other corruption uses.
        apply: Corrupts images [B, 3, H, W] in [0, 1]; may leave that range.
        levels: Arguments of `apply` at severities 1 to 5.
        is_extra: Whether the authors keep it out of the mean, for tuning.
    """

    name: str
    kind: str
    stream: int
    apply: Callable[[Tensor, Any, Draws], Tensor]
    levels: Sequence[Any]
    is_extra: bool = False


CORRUPTIONS = (
    Corruption("gaussian-noise", "noise", 301, noise.gaussian_noise, (0.04, 0.06, 0.08, 0.09, 0.1)),
    Corruption("shot-noise", "noise", 302, noise.shot_noise, (500.0, 250.0, 100.0, 75.0, 50.0)),
    Corruption("impulse-noise", "noise", 303, noise.impulse_noise, (0.01, 0.02, 0.03, 0.05, 0.07)),
    Corruption("defocus-blur", "blur", 304, blur.defocus_blur,
               ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1.0, 0.2), (1.5, 0.1))),
    Corruption("glass-blur", "blur", 305, blur.glass_blur,
               ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2))),
    Corruption("motion-blur", "blur", 306, blur.motion_blur,
               ((6, 1.0), (6, 1.5), (6, 2.0), (8, 2.0), (9, 2.5))),
    Corruption("zoom-blur", "blur", 307, blur.zoom_blur, (1.06, 1.11, 1.16, 1.21, 1.26)),
    Corruption("snow", "weather", 308, weather.snow,
               ((0.1, 0.2, 1.0, 0.6, 8, 3.0, 0.95), (0.1, 0.2, 1.0, 0.5, 10, 4.0, 0.9),
                (0.15, 0.3, 1.75, 0.55, 10, 4.0, 0.9), (0.25, 0.3, 2.25, 0.6, 12, 6.0, 0.85),
                (0.3, 0.3, 1.25, 0.65, 14, 12.0, 0.8))),
    Corruption("fog", "weather", 309, weather.fog,
               ((0.2, 3.0), (0.5, 3.0), (0.75, 2.5), (1.0, 2.0), (1.5, 1.75))),
    Corruption("brightness", "weather", 310, weather.brightness, (0.05, 0.1, 0.15, 0.2, 0.3)),
    Corruption("contrast", "digital", 311, digital.contrast, (0.75, 0.5, 0.4, 0.3, 0.15)),
    Corruption("elastic", "digital", 312, digital.elastic,
               ((0.0, 0.0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05),
                (0.1, 0.03, 0.03))),
    Corruption("pixelate", "digital", 313, digital.pixelate, (0.95, 0.9, 0.85, 0.75, 0.65)),
    Corruption("jpeg", "digital", 314, digital.jpeg, (80, 65, 58, 50, 40)),
    Corruption("speckle-noise", "noise", 315, noise.speckle_noise, (0.06, 0.1, 0.12, 0.16, 0.2),
               is_extra=True),
    Corruption("gaussian-blur", "blur", 316, blur.gaussian_blur, (0.4, 0.6, 0.7, 0.8, 1.0),
               is_extra=True),
    Corruption("saturate", "digital", 317, digital.saturate,
               ((0.3, 0.0), (0.1, 0.0), (1.5, 0.0), (2.0, 0.1), (2.5, 0.2)), is_extra=True),
)  # fmt: skip


def corrupt(
    images: Float[Tensor, "batch 3 height width"],
    corruption: Corruption,
    severity: int,
    rows: Int[Tensor, " batch"],
    seed: int,
) -> Float[Tensor, "batch 3 height width"]:
    """Return images as the authors store them: cut to [0, 1] and down to whole levels of 255.

    Args:
        images: Whole levels of 255, in [0, 1].
        corruption: Which.
        severity: 1 to 5; for saturate and elastic a kind more than a strength.
        rows: Index of each image in its data set; with `seed` it decides all that is random.
        seed: Decides the draws.
    """
    draws = Draws(seed, rows, corruption.stream)
    spoilt = corruption.apply(images.contiguous(), corruption.levels[severity - 1], draws)
    return (spoilt.clamp(0, 1) * 255 + 1e-3).floor() / 255  # 1e-3 keeps whole levels whole


def named_corruption(name: str) -> Corruption:
    """Return the corruption of a name.

    Raises:
        UsageError: If there is none.
    """
    names = [each.name for each in CORRUPTIONS]
    if name not in names:
        near = get_close_matches(name, names, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"
        raise UsageError(f"no corruption is named {name!r}", "corruption", hint)
    return CORRUPTIONS[names.index(name)]
