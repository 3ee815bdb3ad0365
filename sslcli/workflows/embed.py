"""Compute the features of every image of a data set, and write them for the next tool."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import Tensor

from sslcli import assemble
from sslcli.data.sources.base import NO_LABEL, Source, noun
from sslcli.errors import UsageError
from sslcli.evaluate.calibration.stored import probabilities_of, stored_calibrator
from sslcli.evaluate.classifier import known_classes, linear_classifier
from sslcli.files import write_atomically
from sslcli.listener import QUIET, Listener
from sslcli.workflows.changes import Tower, laid_under, read_out
from sslcli.workflows.run import Run, load
from sslcli.workflows.unreadable import Unreadable

Part = Literal["all", "train", "test"]
WRITERS = (".npz", ".parquet")


@dataclass(frozen=True)
class Embeddings:
    """The features of N images or texts that could be read, with their rows, files and labels.

    Attributes:
        data: Name of the data set.
        features: [N, D] float32.
        rows: Index of each image in the data set, [N] int64.
        files: Where each image comes from, [N] text.
        labels: Class of each, [N] int64, -1 where it has none; None when no image has one.
        class_names: Name of each class of the data; None when no image has one.
        probabilities: Of the checkpoint's classifier, [N, C] float32, calibrated if a calibrator
            is stored; None if it has no classifier.
        classifier_classes: Name of each class of the classifier, [C] text, or None.
        unreadable: By data set, the images that were left out.
        path: The file that was written, if any.
    """

    data: str
    features: np.ndarray
    rows: np.ndarray
    files: np.ndarray
    labels: np.ndarray | None = None
    class_names: np.ndarray | None = None
    probabilities: np.ndarray | None = None
    classifier_classes: np.ndarray | None = None
    unreadable: dict[str, Unreadable] = field(default_factory=dict)
    path: Path | None = None

    def arrays(self) -> dict[str, np.ndarray]:
        """Return every array that is not None by its name, as an .npz file holds them."""
        names = ("features", "rows", "labels", "class_names", "probabilities",
                 "classifier_classes", "files")  # fmt: skip
        found = {name: getattr(self, name) for name in names}
        return {name: array for name, array in found.items() if array is not None}


def embed(
    run: str | Path | Run,
    *,
    data: str | None = None,
    out: str | Path | None = "features.npz",
    part: Part = "all",
    tower: Tower | None = None,
    method: str | None = None,
    encoder: str | None = None,
    preset: str | None = None,
    overrides: Mapping[str, Any] | Sequence[str] = (),
    device: str = "auto",
    precision: str | None = None,
    data_root: str | None = None,
    download: bool = False,
    overwrite: bool = False,
    listener: Listener = QUIET,
) -> Embeddings:
    """Compute the encoder's features of every image, and write them to a file.

    For a few images at hand, see `Run.embed`.

    Args:
        run: A run directory, a checkpoint, or what `load` returned; see `load` for this and for
            `data`, `overrides`, `device`, `precision`, `data_root`, `download` and `listener`.
        data: The data set, when not the checkpoint's.
        out: Where to write, ending in .npz or .parquet; None writes nothing.
        part: Which part, when the data has parts.
        tower: The tower that is evaluated, of a method with one of images and one of texts, with
            its projection; None for the encoder.
        method: Where the class lies that the checkpoint names; see `load`.
        encoder: The network of weights of another code; see `load`.
        preset: Whose images and protocols suit such weights; see `load`.
        overrides: Changes of the config.
        device: Where to run.
        precision: Instead of the checkpoint's.
        data_root: Folder of torchvision's data sets.
        download: Allow such a set to be fetched.
        overwrite: Replace the file that is there.
        listener: Who is told what happens.

    Raises:
        SslError: If something is missing or does not fit, or the file cannot be written.
    """
    path = writable(out, overwrite=overwrite)
    opened = load(
        run, data=data, data_root=data_root, download=download,
        overrides=laid_under({"evaluation.features": read_out(None, tower)}, overrides),
        device=device, precision=precision, method=method, encoder=encoder, preset=preset,
        listener=listener,
    )  # fmt: skip
    found = _embedded(opened, images_of(opened, part, path), path)
    if path:
        write = _write_npz if path.suffix == ".npz" else _write_parquet
        write_atomically(path, lambda temporary: write(temporary, found))
    return found


def writable(out: str | Path | None, *, overwrite: bool) -> Path | None:
    """Check the file to write, and return its path; None for None.

    Raises:
        UsageError: If it has an unknown ending, exists already, or needs a missing package.
    """
    if out is None:
        return None
    path = Path(out)
    if path.suffix not in WRITERS:
        raise UsageError(f"{path} is no known kind of file", "out", "end it in .npz or .parquet")
    if path.exists() and not overwrite:
        raise UsageError("this file exists", str(path), "choose another name or add `overwrite`")
    if path.suffix == ".parquet":
        try:
            import pyarrow  # noqa: F401, PLC0415
        except ImportError as error:
            hint = "pip install 'sslcli[parquet]', or write .npz"
            raise UsageError(".parquet needs pyarrow", "out", hint) from error
    return path


def images_of(run: Run, part: Part, path: Path | None) -> Source:
    """Open the images to embed, and say how many they are and where their features will go."""
    source = run.open(run.config.data.source, None if part == "all" else part)
    to = f" to {path}" if path else ""
    run.listener.note(f"{len(source):,} {noun(source)} of {source.name}{to}")
    return source


def _embedded(run: Run, source: Source, path: Path | None) -> Embeddings:
    bar = run.listener.bar
    found = assemble.features_of(
        run.encoder, source, run.config, run.device, run.precision, bar=bar, reads=run.reads
    )
    run.leave_out(source, found.rows)
    rows, labels = found.rows.numpy(), source.labels
    return Embeddings(
        data=source.name,
        features=found.features.numpy(),
        rows=rows,
        files=np.array([source.describe(int(row)) for row in rows]),
        labels=None if labels is None else labels[rows],
        class_names=None if labels is None else np.array(source.class_names),
        **_predictions(run, found.features, source.class_names),
        unreadable=run.unreadable,
        path=path,
    )


def _predictions(run: Run, features: Tensor, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the classifier's probabilities and class names; nothing without a classifier.

    Args:
        run: Whose classifier it is.
        features: [N, D].
        names: Classes of the data.
    """
    checkpoint, listener = run.checkpoint, run.listener
    if linear_classifier(checkpoint) is None:
        return {}
    stored = stored_calibrator(checkpoint)
    by = f"calibrated by {stored.calibrator.method}" if stored else "not calibrated"
    listener.note(f"probabilities of the checkpoint's classifier are {by}")
    return {
        "probabilities": probabilities_of(checkpoint, features).float().numpy(),
        "classifier_classes": np.array(known_classes(checkpoint, names, listener)),
    }


def _write_npz(path: Path, found: Embeddings) -> None:
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **found.arrays())


def _write_parquet(path: Path, found: Embeddings) -> None:
    import pyarrow  # noqa: PLC0415
    from pyarrow import parquet  # noqa: PLC0415

    table: dict[str, Any] = {
        "row": found.rows,
        "file": found.files.tolist(),
        "feature": list(found.features),
    }
    if found.probabilities is not None and found.classifier_classes is not None:
        table["probabilities"] = list(found.probabilities)
        predicted = found.probabilities.argmax(axis=1)
        table["predicted_class"] = found.classifier_classes[predicted].tolist()
    if found.labels is not None and found.class_names is not None:
        names = found.class_names.tolist()
        table["label"] = found.labels
        table["class_name"] = [None if x == NO_LABEL else names[x] for x in found.labels]
    parquet.write_table(pyarrow.table(table), path)
