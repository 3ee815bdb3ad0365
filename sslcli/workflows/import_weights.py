"""Import weights that another code has trained, as a run."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sslcli.engine.checkpoint import NAME
from sslcli.listener import QUIET, Listener
from sslcli.nn.foreign.hub import located
from sslcli.workflows.imported_config import Wish
from sslcli.workflows.importing import Prepared, check_place, default_folder, prepare


@dataclass(frozen=True)
class Imported:
    """A run of imported weights.

    Attributes:
        run: Its folder.
        encoder: The network's name.
        text_encoder: That of the network of texts beside it; None without one.
        preset: Whose images and protocols it is evaluated with.
        image_size: Side of the images that it sees; None of texts.
        prefix: What the file has before the network's names.
        spelling: Whose names those are; empty for torchvision's and timm's.
        origin: The code that wrote the file; empty when it is not recognised.
        loaded: Tensors of the network.
        classes: Of the classifier; None when there is none but the encoder.
        left_out: Names in the file that it has no use for.
        source: Where the weights came from.
        sha256: Of the file.
        licence: Of the weights; empty when none is told.
    """

    run: Path
    encoder: str
    text_encoder: str | None
    preset: str
    image_size: int | None
    prefix: str
    spelling: str
    origin: str
    loaded: int
    classes: int | None
    left_out: tuple[str, ...]
    source: str
    sha256: str
    licence: str

    @property
    def checkpoint(self) -> Path:
        """The file with the weights."""
        return self.run / NAME

    def as_dict(self) -> dict[str, Any]:
        """Return every field, with paths as text."""
        return {**asdict(self), "run": str(self.run), "left_out": list(self.left_out)}


def import_weights(
    file: str | Path,
    *,
    encoder: str | None = None,
    preset: str | None = None,
    key: str | None = None,
    licence: str | None = None,
    overrides: Mapping[str, Any] | Sequence[str] = (),
    out: str | Path | None = None,
    overwrite: bool = False,
    download: bool = False,
    listener: Listener = QUIET,
) -> Imported:
    """Make a run of weights that another code has saved; nothing in the file is executed.

    The network is looked for in the whole file, below any prefix, in the names of torchvision,
    timm, transformers, lightly, SupContrast and JEM. The classifier of a network that was trained
    with labels is kept, and JEM's buffer of samples; all other heads are left out. Of CLIP both
    towers are kept, in the layout of open_clip or of transformers.

    Args:
        file: A .pth, .pth.tar, .pt or .safetensors file, a Hugging Face folder, or a model of the
            hub as "hf:ORG/NAME".
        encoder: The network's name, as `encoder.name`; None to tell it from names and shapes.
        preset: Whose images and protocols it is evaluated with, and whose network it is unless
            `encoder` names one; None for those that suit the code that wrote the file.
        key: Name in the file that the network lies below, such as "student"; None for wherever it
            fits, DINO's teacher and the trained network beside its moving average first.
        licence: The licence of the weights, kept with them.
        overrides: Changes of the config, such as data.mean.
        out: The run directory; None for a folder below runs/ named after the file.
        overwrite: Replace the run in `out`.
        download: Allow a model of the hub to be fetched.
        listener: Who is told what happens.

    Raises:
        SslError: If the file cannot be read, wants code to be run, or fits no encoder.
    """
    wish = Wish(encoder, preset, key or "", licence or "", overrides)
    place = planned(file, wish, out, overwrite=overwrite, download=download)
    found = prepare(str(file), wish, listener, download=download)
    return summary(found, found.write(place, overwrite=overwrite))


def planned(
    file: str | Path, wish: Wish, out: str | Path | None, *, overwrite: bool, download: bool
) -> Path:
    """Return the folder to make, having checked that it may be made.

    Raises:
        SslError: If there are no weights, or something else is in the folder.
    """
    path = located(str(file), download=download)
    return check_place(Path(out) if out else default_folder(path, wish), overwrite=overwrite)


def summary(found: Prepared, run: Path) -> Imported:
    """Return what was found, and where it goes."""
    names = ("prefix", "spelling", "origin", "classes", "source", "sha256", "licence")
    return Imported(
        run=run,
        encoder=found.config.encoder.name,
        text_encoder=found.config.text_encoder.name if found.config.text_encoder else None,
        preset=found.config.preset,
        image_size=found.config.data.image_size,
        loaded=len(found.report.loaded),
        left_out=found.report.ignored,
        **{name: found.facts[name] for name in names},
    )
