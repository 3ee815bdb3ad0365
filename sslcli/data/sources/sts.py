"""Scored pairs of sentences as SentEval lays them out: STS12 to STS16, STS-B and SICK."""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sslcli.data.sources import labels
from sslcli.data.sources.base import Remark
from sslcli.data.sources.sentences import Groups
from sslcli.errors import DataError

YEAR = re.compile(r"STS(\d\d)-en-test")
_INPUT = re.compile(r"STS\.input\.(.+)\.txt")
_BENCHMARK = {"sts-train.csv": "stsb-train", "sts-dev.csv": "stsb-dev", "sts-test.csv": "stsb"}
_SICK = {
    "SICK_train.txt": "sickr-train",
    "SICK_trial.txt": "sickr-dev",
    "SICK_test_annotated.txt": "sickr",
}
_LEFT_OUT = {"STS13-en-test": {"SMT"}}  # its licence keeps it out of every table of results
_SCORE, _SENTENCES = 4, (5, 6)  # cells of a line of STS-B
_SICK_HEAD = ("pair_id", "sentence_a", "sentence_b", "relatedness_score", "entailment_judgment")


@dataclass(frozen=True)
class Subset:
    """The pairs of one file.

    Attributes:
        task: The task that it belongs to, as tables of results name it: "sts12", "stsb", "sickr".
        name: Of the subset within its task; empty where the task has one alone.
        pairs: Both sentences, a row each.
        scores: What people found, NaN where nobody was asked.
        judgments: Of SICK, whether the second sentence follows; empty elsewhere.
    """

    task: str
    name: str
    pairs: Sequence[tuple[str, str]]
    scores: Sequence[float]
    judgments: Sequence[str] = ()


class ScoredPairs(Groups):
    """Pairs of one task or of several.

    Attributes:
        tasks: Task and subset of each row.

    Args:
        name: Name for people.
        subsets: The files' content.
        remarks: What was odd about them.
    """

    def __init__(
        self, name: str, subsets: Sequence[Subset], remarks: Sequence[Remark] = ()
    ) -> None:
        pairs = [pair for subset in subsets for pair in subset.pairs]
        scores = np.array([score for subset in subsets for score in subset.scores])
        judged = [each for subset in subsets for each in subset.judgments]
        numbers, names = labels.number(judged) if len(judged) == len(pairs) else (None, ())
        super().__init__(
            name, pairs, scores=scores, labels=numbers, class_names=names, remarks=remarks
        )
        self.tasks = [(subset.task, subset.name) for subset in subsets for _ in subset.pairs]


def is_scored(path: Path) -> bool:
    """Say whether a folder or a file holds scored pairs in one of these layouts."""
    if path.is_dir():
        return bool(_files(path))
    return path.name in {**_BENCHMARK, **_SICK} or bool(_INPUT.fullmatch(path.name))


def open_scored(name: str, path: Path) -> ScoredPairs:
    """Open a folder with any of the tasks, or a file of one.

    Raises:
        DataError: If a file is damaged, or a file of scores is shorter than its pairs.
    """
    files = [path] if path.is_file() else _files(path)
    return ScoredPairs(name, [_read(file) for file in files])


def _files(folder: Path) -> list[Path]:
    """Return the files of a task's own folder, or of every task in a folder, and in its STS."""
    if own := _of_task(folder):
        return own
    folders = sorted(_folders(folder))
    if (folder / "STS").is_dir():
        folders += sorted(_folders(folder / "STS"))
    return [file for each in folders for file in _of_task(each)]


def _folders(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if path.is_dir())


def _of_task(folder: Path) -> list[Path]:
    """Return a task's own files; copies of them lie deeper."""
    known = [folder / name for name in (*_BENCHMARK, *_SICK) if (folder / name).is_file()]
    found = []
    for path in sorted(folder.glob("STS.input.*.txt")):
        match = _INPUT.fullmatch(path.name)
        assert match is not None
        if match[1] not in _LEFT_OUT.get(folder.name, ()) and _gold(path).is_file():
            found.append(path)
    return known + found


def _gold(path: Path) -> Path:
    return path.with_name(path.name.replace("STS.input.", "STS.gs.", 1))


def _read(file: Path) -> Subset:
    if file.name in _BENCHMARK:
        return _benchmark(file)
    return _sick(file) if file.name in _SICK else _year(file)


def _year(file: Path) -> Subset:
    """Read one of a year's inputs with its scores, a line each."""
    match, gold = _INPUT.fullmatch(file.name), _gold(file)
    assert match is not None
    lines = _lines(file)
    scores = [_score(text, gold, at) if text else math.nan for at, text in enumerate(_lines(gold))]
    if len(scores) != len(lines):
        kind = "shorter" if len(scores) < len(lines) else "longer"
        what = f"the scores are {kind} than the pairs: {len(scores)} for {len(lines)}"
        raise DataError(
            what, str(gold), f"copy both again; a line belongs to a line of {file.name}"
        )
    cells = [line.split("\t") for line in lines]
    pairs = [_pair(each[:2], file, at) for at, each in enumerate(cells)]
    year = YEAR.fullmatch(file.parent.name)
    return Subset(f"sts{year[1]}" if year else file.parent.name, match[1], pairs, scores)


def _benchmark(file: Path) -> Subset:
    """Read a part of STS-B, whose quotation marks are characters as all others."""
    cells = [line.split("\t") for line in _lines(file)]
    pairs, scores = [], []
    for at, each in enumerate(cells):
        pairs.append(_pair([each[i] for i in _SENTENCES if i < len(each)], file, at))
        scores.append(_score(each[_SCORE], file, at))
    return Subset(_BENCHMARK[file.name], "", pairs, scores)


def _sick(file: Path) -> Subset:
    """Read a part of SICK, which has a head."""
    head, *lines = _lines(file)
    if tuple(head.lower().split("\t")) != _SICK_HEAD:
        what = f"the columns are {', '.join(head.split(chr(9)))}"
        raise DataError(what, f"{file}:1", f"those of SICK are {', '.join(_SICK_HEAD)}")
    cells = [line.split("\t") for line in lines]
    pairs = [_pair(each[1:3], file, at) for at, each in enumerate(cells, 1)]
    scores = [
        _score(each[3] if len(each) > 3 else "", file, at) for at, each in enumerate(cells, 1)
    ]
    judged = [each[4] if len(each) > 4 else "" for each in cells]
    return Subset(_SICK[file.name], "", pairs, scores, judged)


def _lines(file: Path) -> list[str]:
    """Return the lines of a file without their ends; only these end a line."""
    try:
        text = file.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"the file cannot be read: {error}", str(file), "copy it again") from error
    return [line.rstrip("\r") for line in text.removesuffix("\n").split("\n")]


def _pair(cells: Sequence[str], file: Path, at: int) -> tuple[str, str]:
    if len(cells) != 2:
        what = "there are no two sentences in this line"
        raise DataError(what, f"{file}:{at + 1}", "a tab stands between them")
    return cells[0].strip(), cells[1].strip()


def _score(text: str, file: Path, at: int) -> float:
    try:
        return float(text)
    except ValueError as error:
        what = f"{text[:40]!r} is no score"
        raise DataError(what, f"{file}:{at + 1}", "write a number, such as 3.8") from error
