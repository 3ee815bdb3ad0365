"""Batches for evaluation: every row once, in order, without randomness."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset

from sslcli.config.data import DataConfig
from sslcli.config.pixels import Interpolation, Pixels
from sslcli.data.batch import Tokens
from sslcli.data.images.color import to_space
from sslcli.data.images.store import Store, pack
from sslcli.data.sources.base import Source, need
from sslcli.data.staging import staged
from sslcli.data.streaming import Stream, worker_count
from sslcli.data.text.feed import TextViews
from sslcli.data.unreadable import Bad, reason, refuse_too_many
from sslcli.errors import DataError

Inputs = Tensor | Tokens
_WIDEST = 16  # ratio of sides beyond which the ends of an image, cropped anyway, are not resized


@torch.no_grad()
def eval_batches(
    source: Source, data: DataConfig, batch_size: int, device: torch.device | str
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield images, resized, cropped in the centre, in their colour space, normalised; and rows.

    The shorter side is brought to `data.resize`, or to `data.image_size` when that is None, and
    images that have the right size are left alone. Unreadable images are left out.

    Args:
        source: What to evaluate on.
        data: The pixels, and budgets.
        batch_size: Images of a batch; there may be fewer in any.
        device: Where batches are needed.

    Yields:
        Images, [B, 3, S, S] float32, channels last, and their rows, [B] int64.

    Raises:
        DataError: If the data has no images, or too many are unreadable.
    """
    device = torch.device(device)
    rows = range(len(source))
    batches = [rows[start : start + batch_size] for start in rows[::batch_size]]
    shown = data.pixels
    mean, std = (torch.tensor(x, device=device).view(3, 1, 1) for x in (shown.mean, shown.std))
    for used, images in staged(_squares(source, data, batches, device), device):
        pixels = images.to(torch.float32, memory_format=torch.channels_last).div_(255)
        yield to_space(pixels, shown.space).sub_(mean).div_(std), used


def eval_texts(
    source: Source, views: TextViews, batch_size: int, device: torch.device | str
) -> Iterator[tuple[Tokens, Tensor]]:
    """Yield the tokens of texts, cut where the longest view cuts them, and their rows.

    Texts of like length come together, so that few places hold padding.

    Args:
        source: What to evaluate on.
        views: The tokenizer, and the views of training.
        batch_size: Texts of a batch; there may be fewer in the last.
        device: Where batches are needed.

    Yields:
        Tokens, [B, L], and their rows, [B] int64.

    Raises:
        DataError: If the data has no texts.
    """
    need(source, "text")
    lengths = torch.tensor([len(source.text(row)) for row in range(len(source))])
    for rows in lengths.argsort(stable=True).split(batch_size):
        texts = [source.text(row) for row in rows.tolist()]
        tokens = views.tokenizer.encode(texts, views.longest)
        yield tokens.to(torch.device(device)), rows


def resize_and_crop(
    images: Tensor, size: int, resize: int | None, interpolation: Interpolation = "bilinear"
) -> Tensor:
    """Bring the shorter side to `resize` (or `size`), antialiased, and cut the middle.

    This is torchvision's Resize and CenterCrop; on uint8 it differs from Pillow by one level at
    most. CPU only, as torch has antialiased uint8 nowhere else.

    Args:
        images: uint8, [B, 3, H, W].
        size: Side of the result.
        resize: Shorter side before the crop; `size` when None.
        interpolation: Of the resize.

    Returns:
        uint8, [B, 3, size, size].
    """
    short = resize or size
    images = _center(
        images, *(min(side, _WIDEST * min(images.shape[2:])) for side in images.shape[2:])
    )
    height, width = images.shape[2:]
    if min(height, width) != short:
        least = min(height, width)
        shape = [int(short * height / least), int(short * width / least)]
        images = functional.interpolate(images, shape, mode=interpolation, antialias=True)
    return _center(images, size, size)


def _shown(images: Tensor, pixels: Pixels) -> Tensor:
    """Resize and crop as the config says."""
    return resize_and_crop(images, pixels.image_size, pixels.resize, pixels.interpolation)


def _center(images: Tensor, height: int, width: int) -> Tensor:
    top, left = round((images.shape[2] - height) / 2), round((images.shape[3] - width) / 2)
    return images[:, :, top : top + height, left : left + width]


def _squares(
    source: Source, data: DataConfig, batches: list[range], device: torch.device
) -> Iterator[list[Tensor]]:
    """Yield rows and uint8 images [B, 3, S, S] on the host."""
    shown = data.pixels
    if isinstance(store := pack(source, data), Store):
        for batch in batches:
            rows = torch.tensor([row for row in batch if row not in store.bad])
            if len(rows):
                images = store.gather(rows)
                yield [rows, _shown(images, shown)]
        return
    workers = worker_count(data.workers, shares_cores=device.type == "cpu")
    bad = Bad()
    for rows, images, found in Stream(_Squares(source, shown), workers).over(batches):
        bad |= found
        refuse_too_many(source, bad, data.max_bad_fraction)
        if len(rows):
            yield [rows, images]


class _Squares(Dataset):
    """Map rows to those that are readable, and their images, [B, 3, S, S] uint8."""

    def __init__(self, source: Source, pixels: Pixels) -> None:
        self.source, self.pixels = source, pixels

    def __getitem__(self, rows: range) -> tuple[Tensor, Tensor, Bad]:
        size = self.pixels.image_size
        images, used, bad = [torch.empty(0, 3, size, size, dtype=torch.uint8)], [], Bad()
        for row in rows:
            try:
                image = torch.from_numpy(self.source.load(row)).permute(2, 0, 1)[None]
            except DataError as error:
                bad[row] = reason(error)
                continue
            used.append(row)
            images.append(_shown(image, self.pixels))
        return torch.tensor(used, dtype=torch.int64), torch.cat(images), bad
