"""Random views of a batch on its device: crop, flip, colour, blur, solarise, normalise.

Workers only decode, and cut the crops of large images; everything else runs here, batched, with
parameters of each sample's own that depend on (seed, epoch, row, view) alone.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from math import prod

import numpy as np
import torch
from torch import Tensor

from sslcli.config.pixels import Pixels
from sslcli.config.views import BlurConfig, JitterConfig, ViewConfig
from sslcli.data.images.autoaugment import autoaugment, draw_operations
from sslcli.data.images.blur import auto_kernel, gaussian_blur
from sslcli.data.images.box_blur import boxes, pillow_blur
from sslcli.data.images.color import (
    Kernel,
    apply_where,
    grayscale,
    jitter,
    mirror,
    solarize,
    to_space,
)
from sslcli.data.images.crop import cut, resized_crop, shifted
from sslcli.data.images.draws import Draws, Samples, alike_together, draw, draw_boxes
from sslcli.data.images.exemplar import draw_vectors, transform
from sslcli.data.images.patch_operations import change_patches
from sslcli.data.images.tensorflow_jitter import tensorflow_jitter
from sslcli.data.images.threads import cut_evenly, share

_COPIES = 3  # of a piece of views that exist at once while it is cropped and coloured

Source = Callable[[Tensor, Tensor, Tensor], Tensor]  # index, numbers, flip -> crops in [0, 1]


class Views:
    """Make the views that a preset lists.

    Colours are float32 and never rounded to 8 bits between operations, as torchvision has them on
    tensors (Pillow rounds after each). A flip commutes with what follows the crop, so it is done
    with the crop wherever the preset's order names it.

    Attributes:
        values: Numbers in all views of an image.
        cut_values: Numbers in all crops that `cut` makes of one.

    Args:
        configs: Groups of views of one recipe and size; views are numbered through them.
        pixels: The colour space and the statistics that views are normalised by.
        seed: Seed of the run.
    """

    def __init__(self, configs: Sequence[ViewConfig], pixels: Pixels, seed: int) -> None:
        self.configs = tuple(configs)
        self.num_views = sum(config.count for config in configs)
        self._mean, self._std, self._space = pixels.mean, pixels.std, pixels.space
        self._seed = seed
        self.values = sum(config.count * prod(_shape(config)) for config in configs)
        self.cut_values = sum(config.count * 3 * _cut_side(config) ** 2 for config in configs)

    def __call__(self, images: Tensor, rows: Tensor, epoch: int) -> list[Tensor]:
        """Return all views of images of one size; an accelerator is never waited for.

        Args:
            images: Shape [B, 3, H, W] uint8.
            rows: Index of each image in the data set, [B] int64.
            epoch: Pass over the data.

        Returns:
            One tensor a view, [B, 3, S, S] float32 normalised, channels last, on the device of
            `images`; [B, G, G, 3, s, s] of a view in patches.
        """
        views = []
        for samples, config in self._groups(rows.to(images.device), epoch):
            source = partial(_crop, images, config)
            if config.exemplar:
                source = partial(self._transform, images, config, samples)
            views += self._render(samples, config, source)
        return views

    def example(self, count: int, device: torch.device) -> list[Tensor]:
        """Return tensors of the shapes that `__call__` makes of `count` images, not filled in."""
        shapes = [_shape(config) for config in self.configs for _ in range(config.count)]
        return [torch.empty(count, *shape, device=device) for shape in shapes]

    def scratch(self, count: int, source: int, device: torch.device) -> int:
        """Return the bytes that are needed for a while to make the views of `count` images.

        Args:
            count: Images whose views are made at once.
            source: Bytes of an image that crops are cut from.
            device: Where that happens; a CPU works on pieces.
        """
        return max((_scratch(config, count, source, device) for config in self.configs), default=0)

    def cut(self, image: np.ndarray, row: int, epoch: int) -> list[np.ndarray]:
        """Cut the crop of every view, unflipped, from the same boxes as `__call__` draws.

        Args:
            image: Shape [H, W, 3] uint8.
            row: Index of the image in the data set.
            epoch: Pass over the data.

        Returns:
            One crop a view, [S, S, 3] uint8; `finish` takes them as batches.
        """
        crops = []
        for samples, config in self._groups(torch.tensor([row]), epoch):
            size = _cut_side(config)
            boxes = draw_boxes(config, samples.numbers(), image.shape[0], image.shape[1])
            crops += [cut(image, box, size, config.interpolation) for box in boxes.tolist()]
        return crops

    def finish(self, crops: Sequence[Tensor], rows: Tensor, epoch: int) -> list[Tensor]:
        """Do everything but the crop to batches of what `cut` returns.

        Args:
            crops: One tensor a view, [B, 3, S, S] uint8, fastest when channels last.
            rows: Index of each image in the data set, [B] int64.
            epoch: Pass over the data.

        Returns:
            What `__call__` returns.
        """
        views: list[Tensor] = []
        for samples, config in self._groups(rows.to(crops[0].device), epoch):
            own = crops[len(views) : len(views) + config.count]
            pixels = torch.cat([crop.permute(0, 2, 3, 1) for crop in own])  # [N, S, S, 3]
            source = partial(_unpack, pixels)
            if config.exemplar:
                wide = pixels.permute(0, 3, 1, 2)
                source = partial(self._transform, wide, config, samples)
            views += self._render(samples, config, source)
        return views

    def _transform(
        self,
        images: Tensor,
        config: ViewConfig,
        samples: Samples,
        index: Tensor,
        numbers: Tensor,
        flip: Tensor,
    ) -> Tensor:
        """Transform view-major samples of the images they belong to, as Exemplar-CNN does."""
        assert config.exemplar is not None
        chosen = Samples(self._seed, samples.epoch, samples.rows[index], samples.views[index])
        vectors = draw_vectors(chosen, config.exemplar)
        pixels = images.index_select(0, index % len(images))
        return transform(pixels, config.size, config.exemplar, vectors, flip, self._mean)

    def _groups(self, rows: Tensor, epoch: int) -> Iterator[tuple[Samples, ViewConfig]]:
        """Yield each group's N = count * B samples, view-major, and its recipe."""
        first = 0
        for config in self.configs:
            views = torch.arange(first, first + config.count, device=rows.device)
            views = views.repeat_interleave(len(rows))
            repeated = rows.repeat(config.count)
            yield Samples(self._seed, epoch, repeated, views, first, config.shared), config
            first += config.count

    def _render(self, samples: Samples, config: ViewConfig, source: Source) -> list[Tensor]:
        """Crop with `source`, colour and normalise; split into views."""
        size, device = config.size, samples.rows.device
        if config.patches:
            return self._render_patches(samples, config, source)
        out = torch.empty(len(samples.rows), size, size, 3, device=device)

        def render(piece: slice) -> None:
            numbers = samples.at(piece).numbers()
            order = alike_together(config, numbers)
            numbers = numbers[order]
            draws = draw(config, numbers)
            images = source(order + piece.start, numbers, draws.flip)
            if config.pad and not config.resize:
                images = shifted(images, draws.shift, draws.flip)
            self._color(images, draws, config)
            pixels = images.permute(0, 2, 3, 1).contiguous()
            torch.index_select(pixels, 0, order.argsort(), out=out[piece])

        whole = [slice(0, len(out))]  # an accelerator takes all at once
        share(render, cut_evenly(len(out), 3 * size * size) if device.type == "cpu" else whole)
        return list(out.permute(0, 3, 1, 2).chunk(config.count))

    def _render_patches(self, samples: Samples, config: ViewConfig, source: Source) -> list[Tensor]:
        """Crop with `source`, cut into patches, colour each by itself and normalise."""
        assert config.patches is not None
        cut, device = config.patches, samples.rows.device
        grid, side = cut.grid, cut.side
        out = torch.empty(len(samples.rows), *_shape(config), device=device)

        def render(piece: slice) -> None:
            own = samples.at(piece)
            index = torch.arange(len(own.rows), device=device) + piece.start
            whole = draw(config, own.numbers())
            images = source(index, own.numbers(), whole.flip)
            if config.pad and not config.resize:
                images = shifted(images, whole.shift, whole.flip)
            step = (config.size - side) // (grid - 1)
            cells = images.unfold(2, side, step).unfold(3, side, step)  # [n, 3, G, G, s, s]
            cells = cells.permute(0, 2, 3, 1, 4, 5).reshape(-1, 3, side, side)
            numbers = own.patches(grid**2).numbers()
            order = alike_together(config, numbers)
            patches = cells.index_select(0, order)
            change_patches(patches, cells, order, numbers[order], cut)
            self._color(patches, draw(config, numbers[order]), config)
            torch.index_select(patches, 0, order.argsort(), out=out[piece].view(-1, 3, side, side))

        pieces = cut_evenly(len(out), 3 * grid**2 * side**2)
        share(render, pieces if device.type == "cpu" else [slice(0, len(out))])
        return list(out.chunk(config.count))

    def _color(self, images: Tensor, draws: Draws, config: ViewConfig) -> None:
        """Run a view's operations after the crop, convert to the colour space, normalise; in place.

        Operations and their order are on red, green and blue, whatever the space.
        """
        for operation in config.order:
            if operation == "jitter" and config.jitter:
                kernel = _jitter(config.jitter)
                apply_where(draws.jitter, kernel, images, draws.factors, draws.order)
            elif operation == "grayscale" and config.grayscale:
                apply_where(draws.grayscale, grayscale, images)
            elif operation == "blur" and config.blur:
                _blur(images, draws, config.blur)
            elif operation == "solarize" and config.solarize:
                threshold = config.solarize.threshold
                apply_where(draws.solarize, partial(solarize, threshold), images)
            elif operation == "autoaugment" and config.autoaugment:
                autoaugment(images, draw_operations(config.autoaugment, draws.policy))
        if self._space != "rgb":
            images.copy_(to_space(images, self._space))
        for plane, mean, std in zip(images.unbind(1), self._mean, self._std, strict=True):
            plane.sub_(mean).div_(std)


def _shape(config: ViewConfig) -> tuple[int, ...]:
    """Return the shape of one sample of a view."""
    if config.patches is None:
        return 3, config.size, config.size
    grid, side = config.patches.grid, config.patches.side
    return grid, grid, 3, side, side


def _cut_side(config: ViewConfig) -> int:
    """Return the side of the crops that workers cut."""
    if config.exemplar:  # the window moves later, and needs what surrounds it
        return round(config.size / config.exemplar.window)
    return config.size


def _scratch(config: ViewConfig, count: int, source: int, device: torch.device) -> int:
    """Return the bytes beside the views of one group: copies that its operations pass on."""
    values, together = prod(_shape(config)), config.count * count
    if device.type == "cpu":
        piece = cut_evenly(together, values)[0]
        together = min(together, torch.get_num_threads() * (piece.stop - piece.start))
    return together * (_COPIES * 4 * values + source)


def _jitter(config: JitterConfig) -> Kernel:
    """Return the kernel of the form that a preset names."""
    if config.form == "tensorflow":
        return partial(tensorflow_jitter, config.add_brightness)
    return jitter


def _blur(images: Tensor, draws: Draws, config: BlurConfig) -> None:
    """Blur those images that are to be, in the form that a preset names."""
    if config.form == "pillow":
        apply_where(draws.blur, pillow_blur, images, *boxes(draws.sigma))
        return
    width = auto_kernel(images.shape[-1]) if config.kernel == "auto" else config.kernel
    apply_where(draws.blur, partial(gaussian_blur, width), images, draws.sigma)


def _crop(
    images: Tensor, config: ViewConfig, index: Tensor, numbers: Tensor, flip: Tensor
) -> Tensor:
    """Cut view-major samples from the images they belong to, which every view repeats."""
    boxes = draw_boxes(config, numbers, images.shape[2], images.shape[3])
    pixels = images.index_select(0, index % len(images))
    return resized_crop(pixels, boxes, flip, config.size, config.interpolation)


def _unpack(pixels: Tensor, index: Tensor, numbers: Tensor, flip: Tensor) -> Tensor:
    """Take samples from the crops [N, S, S, 3] that workers cut."""
    chosen = pixels.index_select(0, index).permute(0, 3, 1, 2)
    images = chosen.to(torch.float32, memory_format=torch.contiguous_format).div_(255)
    apply_where(flip, mirror, images)
    return images
