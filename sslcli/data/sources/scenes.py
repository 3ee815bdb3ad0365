"""The built-in scenes: one handwritten digit on a ground of 32 by 32 pixels, and a caption."""

import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, interpolate

from sslcli.data.counter import uniform
from sslcli.data.sources.base import PART_CODES, ArraySource, digest
from sslcli.data.sources.captions import DIGITS, GROUNDS, HUES, INKS, Described, caption, pick
from sslcli.data.sources.index import cached_as

VERSION = 1  # raise it when a picture or a caption changes: another version is another data set

SIDE = 32
_COPIES = {"train": 4, "test": 3}  # scenes of each digit
_FINE = 32  # digits of 8 pixels are first enlarged to this side
_CHUNK = 512  # scenes that are rendered at a time
_SIZE = (14.0, 22.0)  # pixels, of a digit's whole square
_SPREAD = 0.5  # of the way from the middle to where the square would touch the picture's edge
_SLANT = 10.0  # degrees at most, to either side
_GROUND = (0.42, 0.58)  # mean level
_CONTRAST = (0.35, 0.5)  # how much brighter than that the digit is, until it is white
_DIMMED = 0.75  # of all that, in hues, which nobody could name where they are nearly white
_GRAIN = (
    0.5  # each pixel of the ground is darker or brighter by up to this, whatever its neighbours
)
_NUMBERS, _NOISE = 211, 212  # streams of the counter, of which nothing else draws
_LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Plan:
    """What is drawn in each of N scenes, [N] each; levels are luma, 0 to 1.

    Attributes:
        row: Position of the scene.
        digit: Row of the digit.
        size: Side of its square, in pixels.
        across: Its middle, from the left, in pixels.
        down: The same from the top.
        slant: Pixels that a row is shifted by for each pixel above the middle.
        ink: Level of the digit.
        ground: Mean level of the ground.
        ink_hue: Position in `HUES`.
        ground_hue: The same of the ground, never the digit's.
        wording: A number in [0, 1) that chooses among ways to say the same.
    """

    row: Tensor
    digit: Tensor
    size: Tensor
    across: Tensor
    down: Tensor
    slant: Tensor
    ink: Tensor
    ground: Tensor
    ink_hue: Tensor
    ground_hue: Tensor
    wording: Tensor

    def __getitem__(self, some: Tensor) -> "Plan":
        """Return the plan of some scenes."""
        return Plan(**{each.name: getattr(self, each.name)[some] for each in fields(self)})


class Scenes(ArraySource):
    """Pictures of one digit each, with a caption that names it, its size, place, tone and ground.

    "scenes" are grey; "scenes-colour" are the same scenes, of the same luma, in hues. The training
    part shows other handwritten digits than the test part.

    Args:
        form: Which of the two, by its name.
        digits: The handwritten digits, 8 pixels a side, in two parts.
    """

    columns = frozenset({"image", "text"})

    def __init__(self, form: str, digits: ArraySource) -> None:
        assert digits.labels is not None
        assert digits.parts is not None
        copies = np.where(digits.parts == PART_CODES["train"], *_COPIES.values())
        rows = np.repeat(np.arange(len(digits)), copies)
        plan = draw(torch.from_numpy(rows))
        version = digest(f"{form}/{VERSION}".encode(), digits.fingerprint.encode())
        arrays = cached_as(
            f"rendered/{form}-{version}",
            lambda stored: stored["pixels"].shape == (len(rows), 3, SIDE, SIDE),
            lambda: {"pixels": render(form, plan, digits.pixels)},
        )
        labels, parts = digits.labels[rows], digits.parts[rows]
        super().__init__(form, arrays["pixels"], labels, DIGITS, parts)
        self.fingerprint = version  # not of the pixels, which another machine may round otherwise
        self._captions = _captions(form, plan, labels)

    def text(self, row: int) -> str:
        """Return the caption of one scene."""
        return self._captions[row]


def draw(digit: Tensor) -> Plan:
    """Draw all of a scene but its digit; each number is a function of the scene's row alone.

    Args:
        digit: Row of the digit of each scene, [N] int64.
    """
    rows = torch.arange(len(digit))
    u = uniform(0, 0, rows, 0, _NUMBERS, 9).double().T  # [9, N]
    size = _between(_SIZE, u[0])
    room = _SPREAD * (SIDE - size) / 2
    ground = _between(_GROUND, u[4])
    hue = (u[6] * len(HUES)).long()
    return Plan(
        row=rows,
        digit=digit,
        size=size,
        across=SIDE / 2 + room * (2 * u[1] - 1),
        down=SIDE / 2 + room * (2 * u[2] - 1),
        slant=torch.tan(math.radians(_SLANT) * (2 * u[3] - 1)),
        ink=(ground + _between(_CONTRAST, u[5])).clamp_(max=1),
        ground=ground,
        ink_hue=hue,
        ground_hue=(hue + 1 + (u[7] * (len(HUES) - 1)).long()) % len(HUES),
        wording=u[8],
    )


def _between(ends: tuple[float, float], share: Tensor) -> Tensor:
    return ends[0] + (ends[1] - ends[0]) * share


def render(form: str, plan: Plan, digits: np.ndarray) -> np.ndarray:
    """Render every scene, uint8 [N, 3, 32, 32].

    Args:
        form: Grey or in hues.
        plan: What is drawn.
        digits: uint8 [D, 3, 8, 8], grey.
    """
    grey = torch.from_numpy(digits[:, :1]).double() / 255
    fine = interpolate(grey, size=_FINE, mode="bicubic").clamp_(0, 1)
    rows = torch.arange(len(plan.digit)).split(_CHUNK)
    return torch.cat([_painted(form, plan[some], fine) for some in rows]).numpy()


def _painted(form: str, plan: Plan, fine: Tensor) -> Tensor:
    """Return some scenes, uint8 [n, 3, 32, 32]; `fine` are digits, [D, 1, 32, 32] in [0, 1]."""
    grid = affine_grid(_window(plan), [len(plan.digit), 1, SIDE, SIDE], align_corners=False)
    cover = grid_sample(fine[plan.digit], grid, align_corners=False)  # [n, 1, 32, 32]
    noise = uniform(0, 0, plan.row, 0, _NOISE, SIDE * SIDE).double().view(-1, SIDE, SIDE)
    column = (slice(None), None, None)
    ground = (plan.ground[column] + _GRAIN * (2 * noise - 1)).clamp_(0, 1)  # [n, 32, 32]
    painted = torch.lerp(ground[:, None], plan.ink[column][:, None], cover)
    if form == "scenes-colour":
        hues = torch.tensor(list(HUES.values())).double()
        behind = _colour(_DIMMED * ground, hues[plan.ground_hue])
        ink = _colour(_DIMMED * plan.ink[column], hues[plan.ink_hue])
        painted = torch.lerp(behind, ink, cover)
    painted = painted.expand(-1, 3, -1, -1)
    return painted.mul(255).round_().byte()


def _window(plan: Plan) -> Tensor:
    """Return where in the digit's square each pixel of a scene lies, as affine maps [n, 2, 3]."""
    zero, one = torch.zeros_like(plan.slant), torch.ones_like(plan.slant)
    upright = torch.stack([torch.stack([one, plan.slant], -1), torch.stack([zero, one], -1)], 1)
    linear = upright * (SIDE / plan.size)[:, None, None]  # [n, 2, 2]
    middle = torch.stack([plan.across, plan.down], -1)[..., None] / (SIDE / 2) - 1  # [n, 2, 1]
    return torch.cat([linear, -linear @ middle], dim=2)


def _colour(level: Tensor, hue: Tensor) -> Tensor:
    """Return the colour of a hue that has this luma: darkened with black, or brightened with white.

    Args:
        level: [n, h, w].
        hue: [n, 3] in [0, 1].

    Returns:
        [n, 3, h, w].
    """
    pure = hue[:, :, None, None]
    own = (hue @ torch.tensor(_LUMA, dtype=hue.dtype))[:, None, None, None]
    level = level[:, None]
    darker = pure * level / own
    share = (level - own) / (1 - own).clamp(min=1e-9)
    return torch.where(level <= own, darker, torch.lerp(pure, torch.ones_like(pure), share))


def _captions(form: str, plan: Plan, labels: np.ndarray) -> list[str]:
    """Return the caption of every scene."""
    names, columns = zip(
        *((f.name, getattr(plan, f.name).tolist()) for f in fields(plan)), strict=True
    )
    scenes = (dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True))
    pairs = zip(scenes, labels.tolist(), strict=True)
    return [caption(_described(form, scene, label)) for scene, label in pairs]


def _described(form: str, row: dict[str, Any], label: int) -> Described:
    """Return what a caption says of one scene, given its row of the plan and its digit."""
    names = list(HUES)
    ink, ground = names[int(row["ink_hue"])], names[int(row["ground_hue"])]
    if form == "scenes":
        ink = pick(INKS, _share((_GROUND[0] + _CONTRAST[0], 1.0), row["ink"]))
        ground = pick(GROUNDS, _share(_GROUND, row["ground"]))
    return Described(
        digit=label,
        size=_share(_SIZE, row["size"]),
        right=row["across"] - SIDE / 2,
        below=row["down"] - SIDE / 2,
        ink=ink,
        ground=ground,
        wording=row["wording"],
    )


def _share(ends: tuple[float, float], value: float) -> float:
    return (value - ends[0]) / (ends[1] - ends[0])
