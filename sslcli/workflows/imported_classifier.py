"""Keep the classifier of weights from elsewhere, as the method that trains such a network."""

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor, nn

from sslcli import assemble
from sslcli.config.methods.energy import HasChains
from sslcli.config.presets import resolve
from sslcli.config.schema import Config
from sslcli.methods.base import HasClassifier, HasSampler, Method, feature_dim
from sslcli.nn.foreign.classifier import FoundClassifier, find_classifier
from sslcli.nn.weights import LoadReport
from sslcli.workflows.origins import Origin


class Kept(NamedTuple):
    """A run of imported weights: what is kept of the file.

    Attributes:
        config: Its config.
        tensors: As a checkpoint names them.
        classes: Of the classifier; None without one.
        names: What the file calls the tensors behind the encoder that are kept.
    """

    config: Config
    tensors: Mapping[str, Tensor]
    classes: int | None = None
    names: tuple[str, ...] = ()

    @property
    def said(self) -> tuple[str, ...]:
        """Remarks for the user."""
        if self.classes is None:
            return ()
        kept = (
            f"{self.names[0].rpartition('.')[0]!r} is kept, a classifier of {self.classes} classes"
        )
        which = "no file tells which images it has seen: nothing keeps evaluations off them"
        return f"{kept}; the method is {self.config.method.name}", which


def with_classifier(
    config: Config,
    encoder: nn.Module,
    stored: Mapping[str, Tensor],
    report: LoadReport,
    origin: Origin,
) -> Kept:
    """Return what is kept of these weights: the encoder, and the classifier if there is one.

    With a classifier the run's method is that of the code that wrote the file, where a preset of it
    was chosen, or else the supervised one. A buffer of samples is kept with a method that draws
    from one.

    Args:
        config: Of the encoder alone.
        encoder: With its weights.
        stored: What the file holds.
        report: Where the encoder was found in it.
        origin: The code that wrote it.
    """
    names = origin.classifier
    found = find_classifier(stored, report.prefix, names, feature_dim(encoder)) if names else None
    if found is None:
        return Kept(config, {f"encoder.{name}": x for name, x in encoder.state_dict().items()})
    buffer = stored.get(origin.buffer) if origin.buffer else None
    config, is_sampled = _as_method(config, len(found.bias), origin, buffer)
    method = assemble.build_method(config)
    method.encoder.load_state_dict(encoder.state_dict())
    _put_classifier(method, found)
    if not is_sampled or buffer is None:
        return Kept(config, method.state_dict(), len(found.bias), found.names)
    _put_buffer(method, buffer)
    return Kept(config, method.state_dict(), len(found.bias), (*found.names, origin.buffer))


def _as_method(
    config: Config, classes: int, origin: Origin, buffer: Tensor | None
) -> tuple[Config, bool]:
    """Return the config of a classifier, and whether its method takes the buffer."""
    preset = resolve(config.preset).config.method
    if preset.name != origin.method:
        section = {"name": "supervised", "num_classes": classes}
        return _with(config, section), False
    section = preset.model_dump() | {"num_classes": classes}
    size, fits = config.data.pixels.image_size, False
    if isinstance(preset, HasChains) and preset.replay:
        fits = buffer is not None and buffer.shape[1:] == (3, size, size)
        rows = len(buffer) if fits and buffer is not None else preset.replay.size
        replay = preset.replay.model_dump() | {"image_size": size, "size": rows}
        section["replay"] = replay
    return _with(config, section), fits


def _with(config: Config, section: Mapping[str, object]) -> Config:
    return Config.model_validate({**config.model_dump(), "method": section})


def _put_classifier(method: Method, found: FoundClassifier) -> None:
    assert isinstance(method, HasClassifier), "origins with classifiers have such methods"
    method.classifier.load_state_dict({"weight": found.weight, "bias": found.bias})


def _put_buffer(method: Method, buffer: Tensor) -> None:
    """Fill the method's buffer: of which class or age a row is, no file tells."""
    assert isinstance(method, HasSampler), "a section with chains has such a method"
    chains = method.chains()
    assert chains, "its section has a sampler"
    chains.replay.images.copy_(buffer)
    chains.replay.age.fill_(1)
