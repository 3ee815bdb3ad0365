"""No command evaluates a network on images whose labels it has learned, whatever is asked of it."""

import numpy as np
import pytest
from PIL import Image

from sslcli.engine.checkpoint import load_checkpoint

CHANCE, NEAR_CHANCE = 0.25, 0.40
ANOTHER_SPLIT = ("--set", "data.holdout_seed=1")
BRIEF = ("--json", "--precision", "fp32")
PLAIN = ("--eps", "none", "--eps-l2", "none", "--corruption", "none", "--count", 120)
OUTSIDE = ("--ood", "uniform-noise", "--score", "msp", "--no-tune")


@pytest.fixture(scope="module")
def guesses(tmp_path_factory):
    """Return a folder of 600 pictures of noise in 4 classes that say nothing; no test part."""
    root, random = tmp_path_factory.mktemp("data") / "guesses", np.random.default_rng(0)
    for index, label in enumerate(random.integers(0, 4, 600)):
        folder = root / "abcd"[label]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    rows = [
        f"{path.relative_to(root)},{path.parent.name}" for path in sorted(root.glob("*/*"))[::-1]
    ]
    (root / "list.csv").write_text("\n".join(["filepath,label", *rows]))
    return root


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """Return the config of a run that learns every image that it sees by heart."""
    path = tmp_path_factory.mktemp("presets") / "recipe.toml"
    recipe = """duration = "2 epochs"
batch_size = 32
optimizer = { name = "adam", base_lr = 1e-3, lr_scaling = "none", weight_decay = 0.0 }
schedule = { name = "cosine" }
views = [{ count = 1, size = 8, crop_scale = [1, 1], crop_ratio = [1, 1], order = ["crop"] }]
"""
    path.write_text(f"""extends = "supervised/digits"
encoder.name = "wrn-10-1"
method.num_classes = 4
method.data_noise = 0.0
optimizer.base_lr = 3e-3
train.batch_size = 32
train.duration = "25 epochs"
train.precision = "fp32"
[evaluation.linear]
{recipe}
[evaluation.finetune]
{recipe}
[evaluation.distill]
temperature = 1.0
{recipe}
""")
    return path


@pytest.fixture(scope="module")
def knowing(guesses, recipe, tmp_path_factory, run_once):
    """Return a run that knows every image that it has seen by heart."""
    out = tmp_path_factory.mktemp("runs") / "knowing"
    run_once("pretrain", "--config", recipe, "--data", guesses, "--out", out, "--quiet")
    return out


def accuracy(outcome):
    assert outcome.code == 0, outcome.err
    return outcome.json["metrics"]["top1"]


@pytest.mark.parametrize(
    "words",
    [
        ("knn-eval", "--seed", 1),
        ("linear-eval", "--seeds", "1-2"),
        ("linear-eval", "--protocol", "paper", "--seeds", "1-2"),
        ("finetune", "--seeds", "1-2"),
        ("distill", "--seeds", "1-2"),
        ("calibrate", "--method", "none", "--seed", 1),
        ("ood-detect", "--seed", 1, *OUTSIDE),
        ("robust-eval", "--seed", 1, *PLAIN),
    ],
    ids=lambda words: " ".join(map(str, words[:3])),
)
def test_a_seed_holds_out_no_image_that_was_learned(ssl, knowing, tmp_path, words):
    command, *options = words
    if command in ("finetune", "distill"):
        options += ["--out", tmp_path / "run"]
    assert accuracy(ssl(command, knowing, *options, *BRIEF)) < NEAR_CHANCE


@pytest.mark.parametrize(
    "words",
    [
        ("knn-eval",),
        ("linear-eval",),
        ("linear-eval", "--protocol", "paper"),
        ("finetune",),
        ("distill",),
        ("calibrate",),
        ("ood-detect",),
        ("robust-eval",),
        ("attention",),
    ],
    ids=" ".join,
)
def test_every_command_refuses_another_split_with_its_reason(ssl, knowing, words):
    command, *options = words
    outcome = ssl(command, knowing, *options, *ANOTHER_SPLIT)
    assert outcome.code == 2
    assert "images were trained on with their labels" in outcome.err
    assert "data.holdout_seed at 0" in outcome.err


@pytest.mark.parametrize(
    ("options", "is_answered"),
    [
        (("--set", "data.holdout="), True),
        (("--data", "SAME"), True),
        (("--data", "SAME", "--seed", 1), True),
        (("--data", "SAME", *ANOTHER_SPLIT), False),
        (("--set", "data.holdout=0.1"), False),
        (("--set", "data.holdout=0.9"), False),
        (("--test", "SAME"), False),
        (("--test", "SAME/list.csv"), False),
        (("--data", "SAME/list.csv"), False),
        (("--data", "SAME", "--test", "SAME"), False),
    ],
    ids=str,
)
def test_the_same_data_by_another_name_is_no_way_round(ssl, knowing, guesses, options, is_answered):
    words = [str(word).replace("SAME", str(guesses)) for word in options]
    outcome = ssl("knn-eval", knowing, *words, *BRIEF)
    assert (outcome.code == 0) == is_answered
    if is_answered:
        assert accuracy(outcome) < NEAR_CHANCE
    else:
        assert outcome.code == 2


def test_runs_of_all_seeds_hold_out_one_and_the_same_part(ssl, knowing, tmp_path):
    out = tmp_path / "tuned"
    assert ssl("finetune", knowing, "--seeds", "0-1", "--out", out, "--precision", "fp32").code == 0
    runs = [load_checkpoint(folder) for folder in (out, f"{out}-seed1")]
    assert [run.config.seed for run in runs] == [0, 1]
    assert {run.config.data.holdout_seed for run in runs} == {0}
    assert len({run.facts["data"]["fingerprint"] for run in runs}) == 1
    second = ssl("calibrate", f"{out}-seed1", "--method", "none", *BRIEF)
    assert accuracy(second) < NEAR_CHANCE


def test_a_judge_is_not_asked_about_images_that_it_has_learned(
    ssl, run_once, guesses, knowing, tmp_path
):
    small = ("encoder.name=wrn-10-1", "method.num_classes=4", 'train.duration="1 steps"',
             "train.batch_size=32", "method.sampler.steps=1", "method.replay.size=32")  # fmt: skip
    small = [word for field in small for word in ("--set", field)]
    runs = [tmp_path / "same", tmp_path / "other"]
    for run, more in zip(runs, ((), ANOTHER_SPLIT), strict=True):
        options = (*small, *more, "--data", guesses, "--out", run, "--precision", "fp32")
        run_once("pretrain", "--preset", "jem/digits", *options)
    options = ("--judge", knowing, "--count", 4, "--steps", 1, *BRIEF)
    same, other = (ssl("sample-sgld", run, *options) for run in runs)
    assert same.json["metrics"]["judge_top1_real"] < NEAR_CHANCE
    assert other.code == 2
    assert "images were trained on with their labels" in other.err
