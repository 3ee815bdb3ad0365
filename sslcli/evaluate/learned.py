"""Keep evaluations off the images whose labels a network has learned.

A run that learns labels records its data set and its division, and so does every run that starts
from it. No option of an evaluation can make those images count as held out.
"""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from sslcli.config.data import DataConfig
from sslcli.config.section import Fraction, Section
from sslcli.data.sources.base import Source, Subset, derived, labelled, noun, take_part
from sslcli.data.sources.builtin import NAMES
from sslcli.data.sources.files import FileSource, read_whole, same_data
from sslcli.data.sources.open import open_source
from sslcli.data.sources.splits import divided, has_test_part, shared_rows, validation_parts
from sslcli.engine.checkpoint import Checkpoint
from sslcli.errors import CheckpointError, DataError, UsageError
from sslcli.listener import Bar

LEARNED = "learned"  # among a checkpoint's facts
_OLD_SEEDS = range(10)


class Learned(Section):
    """A data set whose labels a network has learned, and its division at that time.

    Attributes:
        source: Its absolute path, pattern or built-in name.
        fingerprint: Of the part that was trained on.
        has_test: Whether other data was named for testing, so that the training part is all of it.
        holdout: See `DataConfig`.
        holdout_seed: See `DataConfig`.
        validation: See `DataConfig`.
    """

    source: str
    fingerprint: str
    has_test: bool
    holdout: Fraction
    holdout_seed: int
    validation: Fraction = 0.0

    @classmethod
    def of(cls, data: DataConfig, train: Source) -> "Learned":
        """Return the record of a run that trains on `train`."""
        return cls.from_facts(data, train.fingerprint)

    @classmethod
    def from_facts(cls, data: DataConfig, fingerprint: str) -> "Learned":
        """Return the record of a run whose training part has this fingerprint."""
        return cls(
            source=_absolute(data.source),
            fingerprint=fingerprint,
            has_test=data.test is not None,
            holdout=data.holdout,
            holdout_seed=data.holdout_seed,
            validation=data.validation,
        )

    def parts(self, whole: Source) -> tuple[Source, Source | None]:
        """Return the part of a data set that was trained on, and the part held out, if any.

        Raises:
            DataError: If the data set is another one, with nothing to train on.
        """
        train, held = labelled(take_part(whole, "train")), None
        if not self.has_test and not has_test_part(whole):
            train, held = divided(take_part(whole, "train"), self.holdout, self.holdout_seed)
            train, held = labelled(train), labelled(held)
        if self.validation:
            train, _ = validation_parts(train, self.validation, self.holdout_seed)
        return train, held

    def is_of(self, whole: Source, print_: str) -> bool | None:
        """Say whether a data set, of this fingerprint, holds the part that was trained on.

        None when an older version made the fingerprint, which does not tell.
        """
        try:
            train, _ = self.parts(whole)
        except DataError:
            return False
        now = derived(print_, train.rows) if isinstance(train, Subset) else print_
        return same_data(self.fingerprint, now) if self.fingerprint else None


def learned_of(checkpoint: Checkpoint) -> list[Learned]:
    """Return the data sets that a checkpoint has learned labels from, the newest first.

    Raises:
        CheckpointError: If that cannot be read.
    """
    config, facts = checkpoint.config, checkpoint.facts
    if LEARNED not in facts:
        fingerprint = str(facts.get("data", {}).get("fingerprint", ""))
        return [Learned.from_facts(config.data, fingerprint)] if config.method.learns_labels else []
    try:
        return [Learned.model_validate(each) for each in facts[LEARNED]]
    except (ValidationError, TypeError) as error:
        what = "what it has learned from cannot be read"
        hint = "the file was altered, or written by another version of sslcli"
        raise CheckpointError(what, str(checkpoint.path), hint) from error


def expect_unseen(
    checkpoint: Checkpoint, source: Source, bar: Callable[[str], Bar] | None = None
) -> list[str]:
    """Return remarks for the user when no image of a source was learned with its label.

    Args:
        checkpoint: The network.
        source: The data to evaluate it on.
        bar: Makes what is called with (images read, images to read) while these are made sure of.

    Raises:
        UsageError: If some were, or if that can no longer be told.
    """
    whole, remarks = _whole(source), []
    is_old = LEARNED not in checkpoint.facts
    for learned in learned_of(checkpoint):
        read_whole(whole, bar("reading the images") if bar else None)
        is_there = _absolute(whole.name) == learned.source
        known = _recognised(learned, whole, is_there=is_there, is_old=is_old)
        if known is learned and is_old and _is_later_of_series(checkpoint, learned, whole):
            what = "an older version trained this run for `seeds`, and did not say what it held out"
            hint = f"train it again, or name other {noun(whole)} with `test`"
            raise UsageError(what, whole.name, hint)
        if known:
            _compare(known, whole, _rows(source))
        elif is_there:
            remarks.append(_changed(learned, whole, is_old=is_old))
        else:
            _compare_files(learned, source)
    return remarks


def _is_later_of_series(checkpoint: Checkpoint, learned: Learned, whole: Source) -> bool:
    """Say whether the run may have held out by a seed other than its own, which nothing records."""
    is_later = checkpoint.run.name.endswith(f"-seed{checkpoint.config.seed}")
    return is_later and learned.is_of(whole, whole.fingerprint) is None


def _recognised(learned: Learned, whole: Source, *, is_there: bool, is_old: bool) -> Learned | None:
    """Return how a data set was divided, if it is the one that was learned.

    Later runs of an older `--seeds` recorded their own seed, but held out by the first one's.
    """
    print_ = whole.fingerprint
    if is_there and learned.is_of(whole, print_) is None:
        return learned
    seeds = (learned.holdout_seed, *(_OLD_SEEDS if is_old else ()))
    tried = (learned.model_copy(update={"holdout_seed": seed}) for seed in seeds)
    return next((each for each in tried if each.is_of(whole, print_)), None)


def _compare(learned: Learned, whole: Source, rows: np.ndarray) -> None:
    train, held = learned.parts(whole)
    seen = int(np.isin(rows, _rows(train)).sum())
    if not seen and (held is None or np.array_equal(np.sort(rows), _rows(held))):
        return
    what = _seen(seen, len(rows), whole)
    if not seen:
        what = f"this run held out other {noun(whole)} of this data set when it learned its labels"
    hint = f"name other {noun(whole)} with `test`"
    if held is not None and len(held):
        hint = f"keep data.holdout at {learned.holdout:g} and data.holdout_seed at "
        hint += f"{learned.holdout_seed}, as in training, or name other {noun(whole)} with `test`"
    raise UsageError(what, whole.name, hint)


def _changed(learned: Learned, whole: Source, *, is_old: bool) -> str:
    """Say that the data of the training is no longer what it was.

    Raises:
        UsageError: If nothing but the training's division tells what was held out.
    """
    what = f"{whole.name} is not what it was when this run learned its labels"
    if is_old or learned.has_test or has_test_part(whole):
        return f"{what}: some of the {noun(whole)} held out now may have been trained on"
    what += f", so nobody can tell which of its {noun(whole)} were held out"
    hint = f"put back what it was, or name other {noun(whole)} with `test`"
    raise UsageError(what, whole.name, hint)


def _compare_files(learned: Learned, source: Source) -> None:
    """Refuse a data set whose files are those of the one that was learned.

    Raises:
        UsageError: If there are some.
    """
    if not isinstance(_whole(source), FileSource):
        return
    try:
        train, _ = learned.parts(open_source(learned.source, part=None))
    except DataError:
        return  # the data set there has changed since
    if seen := int(shared_rows(train.origins(), source.origins()).sum()):
        hint = f"name other {noun(source)} with `data` or `test`"
        raise UsageError(
            f"{_seen(seen, len(source), source)}, as {learned.source}", source.name, hint
        )


def _seen(count: int, of: int, source: Source) -> str:
    return f"{count} of these {of} {noun(source)} were trained on with their labels"


def _whole(source: Source) -> Source:
    return source.base if isinstance(source, Subset) else source


def _rows(source: Source) -> np.ndarray:
    return source.rows if isinstance(source, Subset) else np.arange(len(source))


def _absolute(spec: str) -> str:
    """Return the absolute path of data; a built-in name stays as it is."""
    return spec if spec in NAMES else os.path.abspath(Path(spec).expanduser())
