"""Compare the linear probe with scikit-learn's LogisticRegression on the same cores.

Both standardise, choose among the same penalties on the same share of the training set, and fit
again on all of it. Accuracies on test data stand beside the times. scikit-learn runs its default
tolerance; its warm start goes from strong to weak penalties as well.

    python examples/benchmarks/linear.py [--train 10000] [--dim 256] [--json]
"""

import argparse
import json
import time
import warnings

import torch
from knn import Task, make_task
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sslcli.evaluate.linear import REGULARISERS, evaluate_linear, fit_linear

CLASSES = 10


def ours(task: Task, solver: str) -> dict[str, float]:
    probe = fit_linear(task.train, task.labels, CLASSES, solver=solver)
    return {"top1": evaluate_linear(probe, task.test, task.right).top1, "l2": probe.l2}


def scikit_learn(task: Task) -> dict[str, float]:
    features, labels = task.train.numpy(), task.labels.numpy()
    kept, held, kept_labels, held_labels = train_test_split(
        features, labels, test_size=0.1, stratify=labels, random_state=0
    )
    scaler = StandardScaler().fit(kept)
    kept, held = scaler.transform(kept), scaler.transform(held)
    model = LogisticRegression(max_iter=1000, warm_start=True)
    scores = {}
    for l2 in REGULARISERS:
        model.set_params(C=1 / (l2 * len(kept))).fit(kept, kept_labels)
        scores[l2] = model.score(held, held_labels)
    best = max(scores, key=scores.__getitem__)
    final = LogisticRegression(C=1 / (best * len(features)), max_iter=1000)
    fitted = make_pipeline(StandardScaler(), final).fit(features, labels)
    return {"top1": fitted.score(task.test.numpy(), task.right.numpy()), "l2": best}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train", type=int, default=10_000)
    parser.add_argument("--test", type=int, default=5_000)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--sgd", action="store_true", help="time the SGD solver as well")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    task = make_task(options.train, options.test, options.dim)
    sides = {
        "scikit-learn": lambda: scikit_learn(task),
        "ssl lbfgs": lambda: ours(task, "lbfgs"),
    }
    if options.sgd:
        sides["ssl sgd"] = lambda: ours(task, "sgd")
    rows = []
    for name, run in sides.items():
        start = time.perf_counter()
        result = run()
        rows.append({"side": name, **result, "seconds": time.perf_counter() - start})
    for row in rows:
        row["times_as_fast"] = rows[0]["seconds"] / row["seconds"]
    if options.json:
        print(json.dumps({**vars(options), "threads": torch.get_num_threads(), "rows": rows}))
        return
    print(f"{options.train:,} features, {options.dim} dims, {len(REGULARISERS)} penalties")
    print(f"{'side':<14}{'seconds':>9}{'ratio':>9}{'top1':>8}{'l2':>9}")
    for row in rows:
        speed = f"{row['seconds']:9.2f}{row['times_as_fast']:8.2f}x"
        print(f"{row['side']:<14}{speed}{row['top1']:8.4f}{row['l2']:9.2g}")


if __name__ == "__main__":
    main()
