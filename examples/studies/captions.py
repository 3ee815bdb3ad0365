"""Ask by their captions whether the photos that an encoder finds alike are alike.

Prints the mean cosine of TF-IDF vectors between the captions of a photo and of its nearest photos:
by the run's encoder, by that encoder untrained, by raw pixels, by chance, and at best. Training
never sees the captions. A table of captions has a line `file<tab>caption` each, several a file;
files without a photo are passed over.

    ssl pretrain --method simclr --data photos/ --out runs/photos
    python examples/studies/captions.py --run runs/photos --photos photos/ --captions captions.tsv
"""

import argparse
import csv
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from commands import TALK
from sklearn.feature_extraction.text import TfidfVectorizer

import sslcli
from sslcli.workflows.neighbours_result import Query

MOST = 100_000  # photos asked about


def captions_of(table: Path) -> dict[str, str]:
    """Return all captions of each file in one text."""
    told = defaultdict(list)
    with table.open(encoding="utf-8", newline="") as lines:
        for row in csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE):
            if len(row) > 1:
                told[row[0]].append(row[1])
    return {name: " ".join(texts) for name, texts in told.items()}


def likeness(queries: Sequence[Query], place: dict[str, int], cosines: np.ndarray) -> float:
    """Return the mean cosine of each photo's captions and those of its nearest photos."""
    pairs = [(query.item, found.item) for query in queries for found in query.neighbours]
    rows, others = ([place[Path(item).name] for item in side] for side in zip(*pairs, strict=True))
    return float(cosines[rows, others].mean())


def compare(run: str, photos: str, table: Path, k: int) -> dict[str, float]:
    """Return the mean cosine of captions by what found the neighbours."""
    told = captions_of(table)
    found = sslcli.neighbours(
        run, data=photos, query=photos, k=k, count=MOST, baseline=True, listener=TALK
    )
    names = sorted(Path(query.item).name for query in found.queries)
    if missing := [name for name in names if name not in told]:
        raise SystemExit(f"{table} has no caption of {len(missing)} photos, such as {missing[0]}")
    vectors = TfidfVectorizer(stop_words="english", min_df=2)
    rows = vectors.fit_transform([told[name] for name in names])
    cosines = (rows @ rows.T).toarray()
    others = cosines[~np.eye(len(names), dtype=bool)].reshape(len(names), -1)
    place = {name: row for row, name in enumerate(names)}
    measured = {by: likeness(queries, place, cosines) for by, queries in found.by().items()}
    best = np.sort(others, axis=1)[:, -k:]
    return {**measured, "chance": float(others.mean()), "best": float(best.mean())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", required=True, help="a run directory")
    parser.add_argument("--photos", required=True, help="the folder of photos")
    parser.add_argument("--captions", required=True, type=Path, help="a table of captions")
    parser.add_argument("--k", type=int, default=5, help="nearest photos of each")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    found = compare(options.run, options.photos, options.captions, options.k)
    if options.json:
        print(json.dumps(found))
        return
    print(f"| nearest {options.k} by | cosine of captions |\n|---|---|")
    for by, cosine in found.items():
        print(f"| {by} | {cosine:.3f} |")


if __name__ == "__main__":
    main()
