"""Choose what is trained on and what is held out, and say so."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from sslcli.config.data import DataConfig
from sslcli.config.section import Column
from sslcli.data.order import holdout_keys, stratified
from sslcli.data.sources.base import (
    NO_LABEL,
    PART_CODES,
    Remark,
    Source,
    Subset,
    labelled,
    noun,
    take_part,
)
from sslcli.data.sources.captioned import with_texts
from sslcli.data.sources.open import open_source
from sslcli.errors import DataError

Progress = Callable[[int, int], None] | None


@dataclass(frozen=True)
class Splits:
    """Training and held-out data, whose labels mean the same classes.

    Attributes:
        train: What is trained on.
        test: What is only evaluated on; empty when `data.holdout` is 0.
        note: Which held-out data was chosen and why, in one line.
        oddities: What is out of line in how the data is laid out.
        validation: Training data that training does not see; None when nothing is kept from it.
    """

    train: Source
    test: Source
    note: str
    oddities: tuple[Remark, ...] = ()
    validation: Source | None = None

    def need_held_out(self) -> None:
        """Raise DataError unless there is something to test on."""
        if not len(self.test):
            hint = "name some with `test`, or set data.holdout"
            raise DataError(f"no {noun(self.test, 1)} is held out", self.train.name, hint)

    def with_texts(self) -> "Splits":
        """Return the same data without the images that have no caption, and remarks on them."""
        (train, of_train), (test, of_test) = with_texts(self.train), with_texts(self.test)
        return replace(self, train=train, test=test, oddities=self.oddities + of_train + of_test)

    def without_validation(self, data: DataConfig) -> "Splits":
        """Return the same data with `data.validation` of the training part kept from training."""
        if not data.validation:
            return self
        train, kept = validation_parts(self.train, data.validation, data.holdout_seed)
        note = f"{self.note}; {len(kept)} training {noun(kept)} are for validation"
        return replace(self, train=train, note=note, validation=kept)


def open_splits(
    data: DataConfig,
    progress: Progress = None,
    *,
    only_labelled: bool = False,
    needs_texts: bool = False,
    opened_for: Column | None = None,
) -> Splits:
    """Open `data.source` and its held-out data.

    Held out is `data.test` when given, else the source's own test part, else a share of its rows
    chosen by a hash of row and `data.holdout_seed`, which leaves every class in both where it has
    two images.

    Args:
        data: What to open.
        progress: Called while files are indexed, with (done, total).
        only_labelled: Of training and held-out data that is labelled at all, leave out the rows
            that have no class.
        needs_texts: Leave out the images that have no caption where others have one.
        opened_for: The column that will be read, whose noun messages use.

    Raises:
        DataError: If anything is missing or unreadable, or train and test share no class.
    """
    whole = open_source(
        data.source,
        part=None,
        root=data.root,
        download=data.download,
        progress=progress,
        white_point=data.white_point,
        opened_for=opened_for,
    )
    splits = _split(data, whole, progress)
    splits = replace(splits, oddities=whole.oddities + splits.oddities)
    if needs_texts:
        splits = splits.with_texts()
    if not only_labelled:
        return splits
    return replace(splits, train=labelled(splits.train), test=labelled(splits.test))


def _split(data: DataConfig, whole: Source, progress: Progress) -> Splits:
    if data.test is not None:
        return _given(data, whole, progress)
    train = take_part(whole, "train")
    if has_test_part(whole):
        test = take_part(whole, "test")
        note = f"held out: the test part of {whole.name} ({len(test)} {noun(test)})"
        return Splits(train, test, note + _unseen_classes(train, test))
    return _hold_out(train, data.holdout, data.holdout_seed)


def has_test_part(whole: Source) -> bool:
    """Say whether a data set comes divided."""
    return whole.parts is not None and bool((whole.parts == PART_CODES["test"]).any())


def divided(train: Source, share: float, seed: int) -> tuple[Source, Source]:
    """Divide images without a test part into those to train on and those held out."""
    if not share:
        return train, Subset(train, np.arange(0), f"{train.name} (held out)")
    return _shared_out(train, share, seed, "train", "held out")


def validation_parts(train: Source, share: float, seed: int) -> tuple[Source, Source]:
    """Divide a training part into the rows that training sees and those that it does not."""
    return _shared_out(train, share, seed, "seen", "validation")


def _shared_out(
    whole: Source, share: float, seed: int, most: str, some: str
) -> tuple[Source, Source]:
    n, labels = len(whole), whole.labels
    groups = np.zeros(n, dtype=np.int64) if labels is None else labels - NO_LABEL
    chosen = stratified(groups, share, holdout_keys(n, seed))
    parts = (most, ~chosen), (some, chosen)
    first, second = (
        Subset(whole, np.flatnonzero(rows), f"{whole.name} ({what})") for what, rows in parts
    )
    return first, second


def _given(data: DataConfig, whole: Source, progress: Progress) -> Splits:
    spec = str(data.test)
    test = open_source(
        spec,
        part=None,
        root=data.root,
        download=data.download,
        progress=progress,
        white_point=data.white_point,
        opened_for=whole.opened_for,
    )
    what, oddities = "data.test", test.oddities
    if test.parts is not None:
        test, what = take_part(test, "test"), "the test part of data.test"
    train, test = _share_classes(take_part(whole, "train"), test)
    note = f"held out: {what} ({spec}, {len(test)} {noun(test)})"
    return Splits(train, test, note + _unseen_classes(train, test), oddities)


def shared_files(train: Source, test: Source) -> tuple[Remark, ...]:
    """Remark on held-out rows whose very file is trained on too, by whatever links."""
    rows = shared_rows(train.origins(), test.origins())
    if not rows.any():
        return ()
    what = f"{int(rows.sum()):,} held-out {noun(test)} are files that are trained on too, by links"
    first = test.describe(int(rows.argmax()))
    return (Remark("warning", what, first, "accuracy on them says nothing; remove the links"),)


def _unseen_classes(train: Source, test: Source) -> str:
    """Return a remark on classes that only the held-out part has, or nothing."""
    if train.labels is None or test.labels is None:
        return ""
    unseen = np.setdiff1d(test.labels, np.append(train.labels, NO_LABEL))
    if not len(unseen):
        return ""
    count = int(np.isin(test.labels, unseen).sum())
    names = ", ".join(test.class_names[label] for label in unseen[:3])
    return (
        f"; warning: {count} of them are of classes never trained on ({names}) and count as wrong"
    )


def _share_classes(train: Source, test: Source) -> tuple[Source, Source]:
    """Let a label mean the same class in both: the training classes, then what only test has."""
    if train.labels is None or test.labels is None or train.class_names == test.class_names:
        return train, test
    names = tuple(dict.fromkeys(train.class_names + test.class_names))
    if len(names) == len(train.class_names) + len(test.class_names):
        what = f"no class of {test.name} is among the classes of {train.name}"
        hint = f"they are {', '.join(test.class_names[:5])}; {', '.join(train.class_names[:5])}"
        raise DataError(what, "data.test", hint)
    position = np.array([*(names.index(name) for name in test.class_names), NO_LABEL])
    train, test = copy.copy(train), copy.copy(test)
    train.class_names = test.class_names = names
    test.labels = position[test.labels]
    return train, test


def _hold_out(whole: Source, share: float, seed: int) -> Splits:
    train, test = divided(whole, share, seed)
    if not share:
        return Splits(train, test, "nothing is held out")
    note = f"held out: {len(test)} of {len(whole)} {noun(whole)}, chosen by hash of row and "
    note += f"data.holdout_seed {seed}"
    if lonely := _classes_of_one(whole.labels):
        note += f"; {lonely} classes of one {noun(whole, 1)} are only trained on"
    return Splits(train, test, f"{note}; {whole.name} has no test part and data.test is not set")


def _classes_of_one(labels: np.ndarray | None) -> int:
    return 0 if labels is None else int((np.bincount(labels - NO_LABEL)[1:] == 1).sum())


def shared_rows(known: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Tell which of the `found` origins, [N, 3], are among the `known` ones, [N] bool."""
    row = np.dtype((np.void, 3 * found.itemsize))
    known, keys = (np.ascontiguousarray(each).view(row).ravel() for each in (known, found))
    return np.isin(keys, known) & (found >= 0).all(axis=1)
