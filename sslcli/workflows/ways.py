"""The changes of a config that make a training take less memory, and what else each changes."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch.nn.modules.batchnorm import _BatchNorm

from sslcli.config.architectures import RESNETS, cifar_depth, patch_side, vit_size
from sslcli.config.methods.registry import is_custom
from sslcli.config.presets import list_presets, resolve
from sslcli.config.schema import Config
from sslcli.data.images.packed import Packed
from sslcli.engine.accumulation import accumulation_note
from sslcli.engine.loop import Training
from sslcli.errors import SslError
from sslcli.listener import QUIET
from sslcli.methods.base import BatchContrast
from sslcli.profile.preparing import own_loader, worker_processes
from sslcli.workflows.adapt import adapted

_LEAST = 16  # images that BatchNorm is to see at a time, or a contrast to have
_NARROWEST = 8  # channels of the first stage
_MAPPED = (
    8  # times `data.memory_budget_gib`: the largest set that is kept on the disk, not streamed
)


@dataclass(frozen=True)
class Way:
    """A change that makes a training take less memory.

    Attributes:
        changes: Values by dotted field, or those of the preset that comes instead.
        means: What else it changes, in a few words.
        share: About how much of what a step takes is left; 0 where nobody can tell beforehand.
        config: The whole config after it; None where the changes say all.
    """

    changes: Mapping[str, Any]
    means: str
    share: float = 1.0
    config: Config | None = field(default=None, repr=False)


Stage = Callable[[Config, Training, int], Iterator[Way]]  # from the mildest way to the strongest


def less_ahead(config: Config, training: Training, processes: int) -> Iterator[Way]:
    """Keep decoded images on the disk, or have fewer workers, which changes no result."""
    feed, workers = own_loader(training).feed, worker_processes(training)
    if isinstance(feed, Packed) and feed.held and feed.store.is_cached:
        budget = round(1.02 * feed.held / 2**30 / _MAPPED + 0.005, 2)
        if budget < config.data.memory_budget_gib:
            yield Way({"data.memory_budget_gib": budget}, "images are read from the disk")
    while workers:
        workers //= 2
        yield Way({"data.workers": workers}, "decoding is slower")


def chunks(config: Config, training: Training, processes: int) -> Iterator[Way]:
    """Embed a contrastive batch in pieces, with the gradient of all of it."""
    if not isinstance(training.method, BatchContrast) or config.train.compile:
        return
    images = config.train.batch_size // config.train.accumulate // processes
    size = min(images, config.train.chunk_size or images)
    while size // 2 >= _LEAST:
        size //= 2
        norm = f"BatchNorm sees {size} images at a time" if _has_norm(training) else "exact"
        yield Way({"train.chunk_size": size}, norm, size / images)


def parts(config: Config, training: Training, processes: int) -> Iterator[Way]:
    """Make a step in parts whose gradients add up."""
    train = config.train
    least = _LEAST if _has_norm(training) or training.method.over_batch else 1
    for count in range(train.accumulate + 1, train.batch_size + 1):
        images, rest = divmod(train.batch_size, count * processes)
        if images < least:
            return
        if rest or train.batch_size % count:
            continue
        note = accumulation_note(training.method, train.model_copy(update={"accumulate": count}))
        _, _, means = note.partition(": ")
        yield Way({"train.accumulate": count}, means or "exact", train.accumulate / count)


def exact_parts(config: Config, training: Training, processes: int) -> Iterator[Way]:
    """Make a step in parts, where that changes nothing."""
    if not _has_norm(training) and not training.method.over_batch:
        yield from parts(config, training, processes)


def inexact_parts(config: Config, training: Training, processes: int) -> Iterator[Way]:
    """Make a step in parts, where what is taken over a batch is then that of a part."""
    if _has_norm(training) or training.method.over_batch:
        yield from parts(config, training, processes)


def smaller_images(config: Config, training: Training, processes: int) -> Iterator[Way]:
    """Show smaller images, and views that are smaller by as much."""
    side, views = config.data.image_size, config.views
    is_cut = config.encoder.patch_stride or any(
        view.patches for view in views
    )  # a grid is not scaled
    if side is None or config.data.seeds or is_cut or any(view.exemplar for view in views):
        return
    patch = patch_side(config.encoder) if vit_size(config.encoder.name) else 1
    step = max(patch, 32 if side >= 128 else 8)
    for smaller in range((side - 1) // step * step, max(step, side // 4) - 1, -step):
        share = smaller / side
        changes: dict[str, Any] = {"data.image_size": smaller}
        if config.data.resize:
            changes["data.resize"] = max(smaller, round(config.data.resize * share))
        for index, view in enumerate(views):
            changes[f"views.{index}.size"] = max(patch, round(view.size * share / patch) * patch)
        yield Way(changes, f"images of {smaller} pixels, not {side}", share**2)


def narrower(config: Config, training: Training, processes: int) -> Iterator[Way]:
    """Take a ResNet with fewer channels."""
    name = config.encoder.name
    usual = 64 if name in RESNETS else 16 if cifar_depth(name) else None
    width = config.encoder.width or usual
    if width is None or usual is None:
        return
    full = width
    while width % 2 == 0 and width // 2 >= _NARROWEST:
        width //= 2
        means = f"an encoder {full // width} times narrower"
        yield Way({"encoder.width": width}, means, width / full)


def presets(config: Config, training: Training, processes: int) -> Iterator[Way]:
    """Take another preset of the method, from larger images to smaller ones."""
    method = config.method.name
    if is_custom(method) or not config.preset.startswith(f"{method}/"):
        return
    others = (name for name in list_presets() if name.startswith(f"{method}/"))
    found = [_with_preset(name, config) for name in others if name != config.preset]
    known = [each for each in found if each and _side(each) < _side(config)]
    for each in sorted(known, key=_side, reverse=True):
        about = f"{each.encoder.name}, {each.data.image_size} pixels, batch {each.train.batch_size}"
        yield Way({"preset": each.preset}, about, share=0.0, config=each)


def _side(config: Config) -> int:
    return config.data.image_size or 0


def _with_preset(name: str, config: Config) -> Config | None:
    """Return another preset on the same data; None if they do not go together."""
    data = config.data
    kept = {"source": data.source, "test": data.test, "root": data.root, "download": data.download}
    fields = {f"data.{field}": value for field, value in kept.items()}
    try:
        return adapted(resolve(name, None, {**fields, "seed": config.seed}), QUIET).config
    except SslError:
        return None


def _has_norm(training: Training) -> bool:
    return any(isinstance(module, _BatchNorm) for module in training.method.modules())


FITTING: tuple[Stage, ...] = (
    less_ahead, exact_parts, chunks, inexact_parts, smaller_images, narrower,
)  # fmt: skip
NAMED: tuple[Stage, ...] = (*FITTING, presets)
MILD: tuple[Stage, ...] = (less_ahead, exact_parts, inexact_parts)  # of a checkpoint's encoder


def spelled(way: Way) -> str:
    """Return a way as the arguments that ask for it."""
    named = {"train.chunk_size": "chunk_size", "preset": "preset"}
    words = (
        f"`{named[field]}` {value}" if field in named else f"`overrides` {field}={value}"
        for field, value in way.changes.items()
    )
    return " ".join(words)
