"""Examine a whole data set and report all its faults at once."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from torch.utils.data import Dataset

from sslcli.data.images import files as images
from sslcli.data.images.files import WHITE
from sslcli.data.sources.base import NO_LABEL, PART_CODES, Remark, Source, Subset, digest
from sslcli.data.sources.builtin import available
from sslcli.data.sources.captioned import with_texts
from sslcli.data.sources.files import read_whole
from sslcli.data.sources.open import open_source
from sslcli.data.sources.splits import shared_files
from sslcli.data.streaming import Stream
from sslcli.data.unreadable import Bad, reason
from sslcli.environment import core_count
from sslcli.errors import DataError

__all__ = ["Report", "available", "check"]

Progress = Callable[[int, int], None] | None

_CHUNK = 256  # rows a worker examines at a time
_FEW = 2048  # rows that are examined sooner than workers start
_NAMED = 20  # unreadable files that are named
_SIZES = 20  # sizes that are listed, the commonest first


@dataclass
class Report:
    """The findings of `check`; `dataclasses.asdict` turns every field into JSON values.

    Attributes:
        name: What the user wrote.
        fingerprint: Of the data set; empty when it cannot be opened.
        kind: "images" or "sentences".
        count: Rows.
        parts: Rows of each part.
        classes: Rows of each class.
        unlabelled: Rows without a class where others have one.
        sizes: Images of each size, as "WIDTHxHEIGHT", the commonest first.
        modes: Images of each of Pillow's modes.
        unreadable: Rows that cannot be decoded.
        unreadable_files: The first of them and why.
        duplicates: Rows whose content another row has had.
        overlap: Rows of the test part whose content is in the training part.
        captions: Of images: how many there are (count), that another image has too (equal), words
            of the longest (longest), and, by a network, that it would cut (cut).
        findings: Everything that is wrong or odd.
    """

    name: str
    fingerprint: str = ""
    kind: str = "images"
    count: int = 0
    parts: dict[str, int] = field(default_factory=dict)
    classes: dict[str, int] = field(default_factory=dict)
    unlabelled: int = 0
    sizes: dict[str, int] = field(default_factory=dict)
    modes: dict[str, int] = field(default_factory=dict)
    unreadable: int = 0
    unreadable_files: list[str] = field(default_factory=list)
    duplicates: int = 0
    overlap: int = 0
    captions: dict[str, int] = field(default_factory=dict)
    findings: list[Remark] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing found is an error."""
        return all(finding.severity != "error" for finding in self.findings)

    def warn(self, what: str, where: str = "", hint: str = "") -> None:
        """Add what a user should know of."""
        self.findings.append(Remark("warning", what, where, hint))

    def fail(self, what: str, where: str = "", hint: str = "") -> None:
        """Add what keeps the data set from being used."""
        self.findings.append(Remark("error", what, where, hint))


def check(
    spec: str,
    *,
    root: str | Path = "data",
    download: bool = False,
    max_bad_fraction: float = 0.01,
    white_point: int = WHITE,
    progress: Progress = None,
) -> Report:
    """Open a data set, decode every image, and report all that is wrong.

    Args:
        spec: What `--data` takes.
        root: Folder of torchvision's data sets.
        download: Allow a built-in set to be fetched.
        max_bad_fraction: Share of unreadable images from which they are an error.
        white_point: The value of sixteen bits that is white.
        progress: Called with (rows, of all rows) while they are read for the fingerprint, and then
            while they are checked.
    """
    report = Report(spec)
    try:
        source = open_source(spec, part=None, root=root, download=download, white_point=white_point)
    except DataError as error:
        report.fail(error.what, error.where, error.hint)
        return report
    read_whole(source, progress)
    report.fingerprint, report.count = source.fingerprint, len(source)
    report.kind = "images" if "image" in source.columns else "sentences"
    report.findings += source.remarks()
    _count_classes(report, source)
    _count_captions(report, source)
    contents = _examine_all(report, source, max_bad_fraction, progress)
    _compare(report, source, contents)
    return report


def _count_classes(report: Report, source: Source) -> None:
    parts = source.parts
    if parts is not None:
        report.parts = {name: int((parts == code).sum()) for name, code in PART_CODES.items()}
        if rest := int((parts == 0).sum()):
            report.parts["neither"] = rest
    if source.labels is None:
        return
    counts = np.bincount(source.labels - NO_LABEL, minlength=len(source.class_names) + 1).tolist()
    report.unlabelled = counts.pop(0)
    report.classes = dict(zip(source.class_names, counts, strict=True))
    if len(counts) == 1:
        hint = "evaluation needs two; is the path one folder too deep?"
        report.warn("there is one class only", source.class_names[0], hint)
    if empty := [name for name, count in report.classes.items() if not count]:
        report.warn(f"{len(empty)} classes are empty", empty[0])
    if alone := [name for name, count in report.classes.items() if count == 1]:
        report.warn(f"{len(alone)} classes have one image only", alone[0])
    for part, code in PART_CODES.items() if parts is not None else ():
        present = set(source.labels[parts == code].tolist()) - {NO_LABEL}
        if not present:
            continue  # a part without any label is an oddity of its own
        if absent := [name for i, name in enumerate(source.class_names) if i not in present]:
            report.warn(f"{len(absent)} classes are absent from the {part} part", absent[0])


def _count_captions(report: Report, source: Source) -> None:
    """Count the captions of images, and those that another image has too."""
    source, _ = with_texts(source)
    if not {"image", "text"} <= source.columns:
        return
    texts, bad = list[tuple[str, ...]](), list[str]()
    for row in range(len(source)):
        try:
            texts.append(source.sentences(row))
        except DataError as error:
            bad.append(reason(error))
    if bad:
        report.fail(f"{len(bad):,} captions cannot be read", bad[0])
    wearers = Counter(text for own in texts for text in {*own})
    each = [text for own in texts for text in own]
    longest = max((len(text.split()) for text in each), default=0)
    equal = sum(wearers[text] > 1 for text in each)
    report.captions = {"count": len(each), "equal": equal, "longest": longest}
    if equal:
        hint = "a contrastive loss takes the others' images for wrong answers"
        what = f"{equal:,} of {len(each):,} captions are those of another image too"
        report.warn(what, source.name, hint)


def _examine_all(
    report: Report, source: Source, max_bad_fraction: float, progress: Progress
) -> np.ndarray:
    """Decode everything; return a hash of each row's content, [N] int64, 0 where unreadable."""
    sizes, modes, bad = Counter[str](), Counter[str](), Bad()
    contents, n, brightest = [], len(source), -1
    chunks = [range(start, min(start + _CHUNK, n)) for start in range(0, n, _CHUNK)]
    for found in Stream(_Examined(source), core_count() if n > _FEW else 0).over(chunks):
        contents.append(found.contents)
        sizes += found.sizes
        modes += found.modes
        bad |= found.bad
        brightest = max(brightest, found.brightest)
        if progress is not None:
            progress(chunks[len(contents) - 1].stop, n)
    report.sizes, report.modes = dict(sizes.most_common(_SIZES)), dict(modes.most_common())
    _remark_on_white(report, source, brightest)
    report.unreadable, report.unreadable_files = len(bad), list(bad.values())[:_NAMED]
    if bad:
        too_many = len(bad) > max_bad_fraction * n
        what = f"{len(bad)} of {n} images are unreadable"
        hint = f"replace or remove them; data.max_bad_fraction is {max_bad_fraction:g}"
        first = report.unreadable_files[0]
        report.findings.append(Remark("error" if too_many else "warning", what, first, hint))
    return np.concatenate(contents)


def _remark_on_white(report: Report, source: Source, brightest: int) -> None:
    """Say so when no image of sixteen bits uses more than half of what is up to white."""
    if 0 <= 2 * brightest <= source.white_point:
        likely = max(255, 2 ** brightest.bit_length() - 1)
        what = f"images of sixteen bits go up to {brightest:,} of {source.white_point:,}"
        hint = f"they come out dark, in few grey levels; set data.white_point, to {likely} perhaps"
        report.warn(what, source.name, hint)


def _compare(report: Report, source: Source, contents: np.ndarray) -> None:
    readable = contents[contents != 0]
    if repeated := len(readable) - len(np.unique(readable)):
        report.duplicates = repeated
        report.warn(f"{repeated} rows repeat the content of another", source.name)
    if source.parts is None:
        return
    rows = [np.flatnonzero(source.parts == code) for code in PART_CODES.values()]
    train_part, test_part = (Subset(source, each, source.name) for each in rows)
    report.findings += shared_files(train_part, test_part)
    train, test = (contents[each] for each in rows)
    if overlap := int(np.isin(test[test != 0], train).sum()):
        report.overlap = overlap
        hint = "accuracy on the test part would be too high; remove them from one part"
        report.warn(f"{overlap} rows of the test part are in the training part", source.name, hint)


@dataclass
class _Findings:
    contents: np.ndarray
    sizes: Counter[str] = field(default_factory=Counter)
    modes: Counter[str] = field(default_factory=Counter)
    bad: Bad = field(default_factory=dict)
    brightest: int = -1  # value of the images of sixteen bits


class _Examined(Dataset):
    """Map rows to what their images are."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def __getitem__(self, rows: range) -> _Findings:
        found = _Findings(np.zeros(len(rows), dtype=np.int64))
        for i, row in enumerate(rows):
            try:
                content, mode, size = self.source.examine(row)
            except DataError as error:
                found.bad[row] = reason(error)
                continue
            found.contents[i] = int(digest(content)[:15], 16) + 1
            found.sizes.update([size] if size else [])
            found.modes.update([mode] if mode else [])
            if images.has_sixteen_bits(mode):
                found.brightest = max(found.brightest, images.brightest(content))
        return found
