"""Find the text of an image among all texts, and the image of a text among all images."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from sslcli import assemble
from sslcli.data.sources.base import Source, need
from sslcli.data.sources.sentences import Sentences
from sslcli.data.unreadable import refuse_empty
from sslcli.evaluate.retrieval import KS, Recall, first_right_ranks, recall
from sslcli.figures.retrieval import Found, retrieval_figure
from sslcli.listener import QUIET, Listener
from sslcli.workflows.captioned import captioned
from sslcli.workflows.pictures import figure_path, pictures
from sslcli.workflows.run import Run, load

DRAWN, _NEAREST = 8, 5  # queries of the figure, and what it shows of each
DIRECTIONS = ("image_to_text", "text_to_image")


@dataclass(frozen=True)
class RetrievalResult:
    """Recall of both directions.

    Attributes:
        image_to_text: Images that find one of their texts.
        text_to_image: Texts that find an image that they belong to.
        cut: Texts that were longer than the network takes.
        protocol: How this was measured, in one line.
        path: The figure.
    """

    image_to_text: Recall
    text_to_image: Recall
    cut: int
    protocol: str
    path: Path = field(repr=False)

    def by(self) -> dict[str, Recall]:
        """Return each direction by its name."""
        return {name: getattr(self, name) for name in DIRECTIONS}

    def metrics(self) -> dict[str, float]:
        """Return the numbers by name."""
        found: dict[str, float] = {}
        for name, one in self.by().items():
            found |= {f"{name}_r{k}": share for k, share in one.at.items()}
            found[f"{name}_median_rank"] = one.median_rank
        return found | {"images": self.image_to_text.queries, "texts": self.text_to_image.queries}

    def chances(self) -> dict[str, float]:
        """Return the recall of a random order by the name of the metric."""
        return {f"{n}_r{k}": c for n, one in self.by().items() for k, c in one.chance.items()}

    def intervals(self) -> dict[str, tuple[float, float]]:
        """Return the 95 % interval of each recall by its name."""
        return {
            f"{n}_r{k}": each for n, one in self.by().items() for k, each in one.intervals.items()
        }


def metric_names() -> tuple[str, ...]:
    """Return the names that `RetrievalResult.metrics` has."""
    measures = (*(f"r{k}" for k in KS), "median_rank")
    return (*(f"{name}_{each}" for name in DIRECTIONS for each in measures), "images", "texts")


def retrieval_eval(
    run: str | Path | Run,
    *,
    data: str | None = None,
    test: str | None = None,
    out: str | Path | None = None,
    method: str | None = None,
    overrides: Mapping[str, Any] | Sequence[str] = (),
    seed: int | None = None,
    device: str = "auto",
    precision: str | None = None,
    data_root: str | None = None,
    download: bool = False,
    listener: Listener = QUIET,
) -> RetrievalResult:
    """Rank all texts of the test part for each image, and all its images for each text.

    An image counts as found by every text of its own words, whosever it is, and the other way
    round: two images of one caption are both right answers.

    Args:
        run: A run of a method with a tower of images and one of texts; see `load` for this and for
            `data`, `test`, `method`, `overrides`, `seed`, `device`, `precision`, `data_root`,
            `download` and `listener`.
        data: The data set, when not the checkpoint's.
        test: The images with texts to test on.
        out: The PNG to write; None for figures/retrieval.png in the run.
        method: Where the class lies that the checkpoint names; see `load`.
        overrides: Changes of the config.
        seed: Decides the queries that are drawn and the bootstrap, instead of the checkpoint's.
        device: Where to run.
        precision: Instead of the checkpoint's.
        data_root: Folder of torchvision's data sets.
        download: Allow such a set to be fetched.
        listener: Who is told what happens.

    Raises:
        SslError: If something is missing or does not fit: a tower, texts, the file's form.
    """
    opened = load(
        run, data=data, test=test, data_root=data_root, download=download, overrides=overrides,
        seed=seed, device=device, precision=precision, method=method, listener=listener,
    )  # fmt: skip
    path = figure_path(opened, out, "retrieval")
    match = _Match(opened, check(opened))
    result = match.measure(path)
    match.draw(path)
    return result


def check(run: Run) -> Source:
    """Return the held-out images that have texts.

    Raises:
        SslError: If the run has not got both towers, or no image has a text.
    """
    for tower in ("image", "text"):
        run.tower(tower)
    run.splits.need_held_out()
    source = captioned(run.splits.test, run.listener)
    need(source, "image", "text")
    return source


class _Match:
    """Images and texts of one source with their vectors and which belong together."""

    def __init__(self, run: Run, source: Source) -> None:
        self.run, self.source, self.seed = run, source, run.config.seed
        found = run.features(source, run.tower("image"), reads="image")
        self.images = functional.normalize(found.features, dim=1)
        self.rows = found.rows.tolist()  # of the images that can be read
        refuse_empty(source)
        captions = [source.sentences(row) for row in self.rows]
        self.texts = [text for own in captions for text in own]
        self.owner = [image for image, own in enumerate(captions) for _ in own]
        numbers = {text: number for number, text in enumerate(dict.fromkeys(self.texts))}
        self.words = torch.tensor([numbers[text] for text in self.texts])  # equal ones are equal
        self.own = [[numbers[text] for text in own] for own in captions]
        self.wearers: dict[int, list[int]] = defaultdict(list)
        for image, own in enumerate(self.own):
            for number in set(own):
                self.wearers[number].append(image)
        self.cut = assemble.count_cut(run.config, list(numbers))
        found = run.features(Sentences("the texts", list(numbers)), run.tower("text"), reads="text")
        self.vectors = functional.normalize(found.features, dim=1)[self.words]

    def measure(self, path: Path) -> RetrievalResult:
        """Rank both ways."""
        times = Counter(self.words.tolist())
        to_text = recall(
            first_right_ranks(self.images, self.vectors, self.right_texts),
            [sum(times[number] for number in set(own)) for own in self.own],
            len(self.texts), range(len(self.rows)), self.seed,
        )  # fmt: skip
        to_image = recall(
            first_right_ranks(self.vectors, self.images, self.right_images),
            [len(self.wearers[number]) for number in self.words.tolist()],
            len(self.rows), self.owner, self.seed,
        )  # fmt: skip
        if self.cut:
            longest = assemble.text_views(self.run.config).longest
            said = f"{self.cut:,} different texts are longer than {longest} tokens and cut"
            self.run.listener.warn(said)
        counts = f"{len(self.rows):,} images and {len(self.texts):,} texts of {self.source.name}"
        different = f"{len(self.wearers):,} of them different, equal ones all right"
        protocol = f"{counts}, {different}; intervals by bootstrap over images"
        return RetrievalResult(to_text, to_image, self.cut, protocol, path)

    def right_texts(self, block: slice) -> Tensor:
        """Return which texts are right for some images, [B, M]."""
        own = self.own[block]
        worn = torch.zeros(len(own), len(self.wearers), dtype=torch.bool)
        for row, numbers in enumerate(own):
            worn[row, numbers] = True
        return worn[:, self.words]

    def right_images(self, block: slice) -> Tensor:
        """Return which images are right for some texts, [B, N]."""
        numbers = self.words[block].tolist()
        right = torch.zeros(len(numbers), len(self.rows), dtype=torch.bool)
        for row, number in enumerate(numbers):
            right[row, self.wearers[number]] = True
        return right

    def draw(self, path: Path) -> None:
        """Draw some images with one of their texts each, and what was found of both."""
        order = np.random.default_rng(self.seed).permutation(len(self.rows))
        chosen = sorted(order[:DRAWN].tolist())
        asked = [self.owner.index(image) for image in chosen]
        to_images = (
            (self.vectors[asked] @ self.images.T).topk(min(_NEAREST, len(self.rows))).indices
        )
        unique = torch.tensor([self.words.tolist().index(n) for n in range(len(self.wearers))])
        near = (self.images[chosen] @ self.vectors[unique].T).topk(min(_NEAREST, len(unique)))
        wanted = {*chosen, *to_images.flatten().tolist()}
        shown = pictures(self.run, self.source, np.array([self.rows[i] for i in sorted(wanted)]))
        rows = []
        for image, text, others, texts in zip(
            chosen, asked, to_images.tolist(), unique[near.indices].tolist(), strict=True
        ):
            right = set(self.wearers[int(self.words[text])])
            rows.append(
                Found(
                    shown[self.rows[image]],
                    self.texts[text],
                    [shown[self.rows[other]] for other in others],
                    [self.texts[other] for other in texts],
                    [other in right for other in others],
                    [int(self.words[other]) in self.own[image] for other in texts],
                )
            )
        title = f"{len(rows)} images of {self.source.name}; blue: a right answer, red: another"
        retrieval_figure(rows, path, title)
        self.run.listener.note(f"{len(rows)} queries: {path}")
