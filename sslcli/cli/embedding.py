"""Write features to a file that numpy or a data frame reads."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import Tensor

from sslcli import assemble
from sslcli.cli.evaluation import DataChoice, revised
from sslcli.cli.show import Show
from sslcli.data.sources.base import NO_LABEL
from sslcli.data.sources.open import open_source
from sslcli.engine.checkpoint import Checkpoint, load_checkpoint
from sslcli.engine.device import pick_device, resolve_precision
from sslcli.errors import UsageError
from sslcli.evaluate.calibration.stored import probabilities_of, stored_calibrator
from sslcli.evaluate.classifier import class_names, linear_classifier
from sslcli.files import write_atomically
from sslcli.listener import warn_of
from sslcli.nn.read_out import read_out
from sslcli.workflows.unreadable import warn_of_unreadable

WRITERS = (".npz", ".parquet")


def write_embeddings(
    ckpt: str,
    choice: DataChoice,
    out: str,
    part: Literal["all", "train", "test"],
    show: Show,
    *,
    set_: Sequence[str],
    device: str,
    precision: str | None,
    overwrite: bool,
    dry_run: bool,
) -> None:
    """Extract and write; see `ssl embed`."""
    path = Path(out)
    _check(path, overwrite)
    checkpoint = load_checkpoint(ckpt)
    named = choice.named() | ({"train.precision": precision} if precision else {})
    config = revised(checkpoint, named, set_, show)
    data = config.data
    source = open_source(
        data.source,
        part=None if part == "all" else part,
        root=data.root,
        download=data.download,
        progress=show.bar("reading the data"),
        white_point=data.white_point,
    )
    warn_of(source.oddities, show)
    where = pick_device(device)
    arithmetic, _ = resolve_precision(config.train.precision, where)
    show.note(f"{len(source):,} images of {source.name} to {path}, {where}, {arithmetic}")
    if dry_run:
        show.result(dry_run=True, images=len(source), path=str(path))
        return
    encoder = read_out(assemble.load_encoder(checkpoint, where), config.evaluation.features)
    found = assemble.features_of(encoder, source, config, where, arithmetic, bar=show.bar)
    unreadable = warn_of_unreadable(source, found.rows, config.data, show)
    columns: dict[str, np.ndarray] = {
        "features": found.features.numpy(),
        "rows": found.rows.numpy(),
    }
    if source.labels is not None:
        columns["labels"] = source.labels[columns["rows"]]  # NO_LABEL where there is none
        columns["class_names"] = np.array(source.class_names)
    columns |= _predictions(checkpoint, found.features, show)
    columns["files"] = np.array([source.describe(int(row)) for row in columns["rows"]])
    write = _write_npz if path.suffix == ".npz" else _write_parquet
    write_atomically(path, lambda temporary: write(temporary, columns))
    rows = [(name, "x".join(map(str, column.shape))) for name, column in columns.items()]
    show.table("", ("array", "shape"), rows)
    show.result(path=str(path), data=source.name, arrays=dict(rows), unreadable=unreadable)


def _predictions(checkpoint: Checkpoint, features: Tensor, show: Show) -> dict[str, np.ndarray]:
    """Return what the checkpoint's classifier says of the features; nothing if it has none."""
    if linear_classifier(checkpoint) is None:
        return {}
    stored = stored_calibrator(checkpoint)
    by = f"calibrated by {stored.calibrator.method}" if stored else "not calibrated"
    show.note(f"probabilities of the checkpoint's classifier are {by}")
    return {
        "probabilities": probabilities_of(checkpoint, features).float().numpy(),
        "classifier_classes": np.array(class_names(checkpoint)),
    }


def _check(path: Path, overwrite: bool) -> None:
    if path.suffix not in WRITERS:
        raise UsageError(f"{path} is no known kind of file", "--out", "end it in .npz or .parquet")
    if path.exists() and not overwrite:
        raise UsageError("this file exists", str(path), "choose another name or add --overwrite")
    if path.suffix == ".parquet":
        try:
            import pyarrow  # noqa: F401
        except ImportError as error:
            hint = "pip install 'sslcli[parquet]', or write .npz"
            raise UsageError(".parquet needs pyarrow", "--out", hint) from error


def _write_npz(path: Path, columns: dict[str, np.ndarray]) -> None:
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **columns)


def _write_parquet(path: Path, columns: dict[str, np.ndarray]) -> None:
    import pyarrow
    from pyarrow import parquet

    names = columns.get("class_names")
    table: dict[str, Any] = {
        "row": columns["rows"],
        "file": columns["files"].tolist(),
        "feature": list(columns["features"]),
    }
    if "probabilities" in columns:
        predicted = columns["probabilities"].argmax(axis=1)
        table["probabilities"] = list(columns["probabilities"])
        table["predicted_class"] = columns["classifier_classes"][predicted].tolist()
    if names is not None:
        table["label"] = columns["labels"]
        table["class_name"] = [None if x == NO_LABEL else names[x] for x in columns["labels"]]
    parquet.write_table(pyarrow.table(table), path)
