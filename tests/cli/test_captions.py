"""`ssl zero-shot-eval` and `ssl retrieval-eval`: numbers, files, what they refuse."""

import numpy as np
import pytest
import torch
from PIL import Image

import sslcli
from sslcli import assemble
from sslcli.evaluate.zero_shot import class_weights
from sslcli.workflows.run import load

TINY = (
    "--set", 'train.duration="3 steps"', "--set", "train.batch_size=32",
    "--set", 'evaluation.online_every="0%"', "--precision", "fp32", "--quiet",
)  # fmt: skip
COLOURS = {"red": (220, 30, 30), "blue": (30, 30, 220), "green": (30, 200, 30)}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Return a folder of 30 pictures of three colours in two parts, with captions."""
    root, noise = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for row in range(60):
        name = list(COLOURS)[row % 3]
        folder = root / ("train" if row < 30 else "test") / name
        folder.mkdir(exist_ok=True, parents=True)
        grain = noise.integers(0, 30, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(np.array(COLOURS[name], dtype=np.uint8) + grain).save(folder / f"{row}.png")
        (folder / f"{row}.txt").write_text(f"a {name} picture")
    return root


@pytest.fixture(scope="module")
def run(pictures, run_once, tmp_path_factory):
    """Return a run of CLIP that has learned the colours."""
    out = tmp_path_factory.mktemp("runs") / "clip"
    small = ("--set", 'train.duration="24 steps"', "--set", "train.batch_size=15")
    run_once(
        "pretrain",
        "--preset",
        "clip/scenes-colour",
        "--data",
        pictures,
        "--out",
        out,
        *TINY,
        *small,
    )
    return out


def test_zero_shot_is_the_cosine_with_the_mean_prompt(run, ssl):
    prompts = ("a {} picture", "the {}")
    words = [word for each in prompts for word in ("--prompts", each)]
    found = ssl("zero-shot-eval", run, *words, "--json").json
    opened = load(run)
    towers = {name: opened.tower(name) for name in ("image", "text")}
    sentences = [each.replace("{}", name) for name in sorted(COLOURS) for each in prompts]
    tokens = assemble.text_views(opened.config)
    encoded = tokens.tokenizer.encode(sentences, tokens.longest)
    vectors = towers["text"](encoded.ids, encoded.mask).detach()
    weights = class_weights(vectors.unflatten(0, (3, 2)))
    features, labels = opened.labelled_features(opened.splits.test, towers["image"], reads="image")
    right = (features @ weights.T).argmax(dim=1) == labels
    assert found["metrics"]["top1"] == pytest.approx(right.double().mean().item())
    assert found["metrics"]["n"] == 30
    assert found["prompts"] == list(prompts)
    assert found["by_prompt"].keys() == set(prompts)
    assert found["per_class"].keys() == COLOURS.keys()
    assert found["metrics"]["top1"] > 0.6


def test_the_classifier_goes_where_every_classifier_goes(run, ssl, tmp_path):
    out = tmp_path / "zero-shot"
    found = ssl("zero-shot-eval", run, "--prompts", "a {} picture", "--out", out, "--json").json
    assert found["run"] == str(out)
    calibrated = ssl("calibrate", out, "--method", "none", "--json").json
    assert calibrated["metrics"]["top1"] == pytest.approx(found["metrics"]["top1"])
    detected = ssl("ood-detect", out, "--ood", "constant", "--score", "msp", "--json")
    assert detected.code == 0
    quick = (
        "--steps",
        1,
        "--restarts",
        1,
        "--eps-l2",
        "none",
        "--eps",
        "1",
        "--corruption",
        "none",
    )
    attacked = ssl("robust-eval", out, *quick, "--json").json
    assert attacked["metrics"]["top1"] == pytest.approx(found["metrics"]["top1"])
    again = ssl("zero-shot-eval", run, "--out", out)
    assert again.code == 2
    assert "already holds something" in again.err


def test_a_kept_classifier_gives_the_logits_of_training(run, ssl, tmp_path):
    assert ssl("zero-shot-eval", run, "--out", tmp_path / "kept", "--quiet").code == 0
    kept, whole = load(tmp_path / "kept"), load(run)
    images = torch.randn(4, 3, 32, 32)
    unit = kept.encoder(images)
    torch.testing.assert_close(unit.norm(dim=1), torch.ones(4))
    expected = torch.nn.functional.normalize(whole.tower("image")(images), dim=1)
    torch.testing.assert_close(unit, expected)
    rows = kept.checkpoint.tensors("classifier.")["weight"].norm(dim=1)
    torch.testing.assert_close(rows, torch.full((3,), whole.method.scoring[0]))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--prompts", "a photo"), "this prompt has no {}"),
        (("--names", "missing.csv"), "cannot be read"),
    ],
)
def test_wrong_prompts_are_refused(run, ssl, words, told):
    outcome = ssl("zero-shot-eval", run, *words)
    assert outcome.code in (2, 3)
    assert told in outcome.err


def test_a_prompt_that_is_cut_is_counted(run, ssl):
    outcome = ssl("zero-shot-eval", run, "--prompts", "a {} " + "very " * 40, "--json")
    assert outcome.json["metrics"]["cut"] == 3
    assert "3 of 3 prompts are longer than 32 tokens" in outcome.err


@pytest.mark.parametrize(
    ("preset", "told"),
    [
        ("simsiam/digits", "SimSiam has no tower that reads sentences"),
        ("simcse/phrases", "SimCSE has no tower that reads images"),
    ],
)
def test_a_run_with_one_tower_is_refused(preset, told, ssl, run_once, tmp_path):
    run_once("pretrain", "--preset", preset, "--out", tmp_path / "one", *TINY)
    for command in ("zero-shot-eval", "retrieval-eval"):
        outcome = ssl(command, tmp_path / "one")
        assert outcome.code == 2
        assert told in outcome.err
        assert "clip and siglip" in outcome.err


def test_retrieval_finds_pictures_of_equal_captions(run, ssl):
    found = ssl("retrieval-eval", run, "--json").json
    metrics = found["metrics"]
    assert (metrics["images"], metrics["texts"]) == (30, 30)
    assert found["chance"]["image_to_text_r1"] == pytest.approx(1 / 3)
    assert metrics["image_to_text_r1"] > 0.6
    low, high = found["intervals"]["image_to_text_r1"]
    assert low <= metrics["image_to_text_r1"] <= high
    (figure,) = found["figures"]
    with Image.open(figure) as drawn:
        assert drawn.size[0] > 500


def test_retrieval_needs_texts(run, ssl):
    outcome = ssl("retrieval-eval", run, "--data", "digits")
    assert outcome.code == 3
    assert "holds images, not sentences" in outcome.err


def test_a_tower_of_texts_is_evaluated_by_captions(run, ssl, tmp_path):
    assert ssl("knn-eval", run, "--tower", "text", "--k", 3, "--json").json["metrics"]["top1"] == 1
    linear = ssl("linear-eval", run, "--tower", "text", "--json")
    assert linear.json["metrics"]["top1"] == 1
    refused = ssl("linear-eval", run, "--tower", "text", "--protocol", "paper")
    assert refused.code == 2
    assert ssl("map", run, "--tower", "text", "--by", "pca", "--out", tmp_path / "a.png").code == 0


@pytest.mark.parametrize("tower", ["image", "text"])
def test_a_tower_is_embedded_with_its_projection(run, tower):
    opened = load(run)
    found = sslcli.embed(run, part="test", out=None, tower=tower)
    expected = opened.features(opened.splits.test, opened.tower(tower), reads=tower)
    np.testing.assert_allclose(found.features, expected.features.numpy(), atol=1e-6)
    assert found.features.shape == (30, 64)


def test_images_are_found_by_a_sentence(run, ssl, tmp_path):
    sentence = "a red picture"
    words = ("--text", sentence, "--k", 4, "--out", tmp_path / "found.png")
    (query,) = ssl("neighbours", run, *words, "--json").json["neighbours"]["encoder"]
    assert query["item"] == sentence
    opened = load(run)
    data = opened.open(opened.config.data.source)
    images = opened.features(data, opened.tower("image"), reads="image").features
    tokens = assemble.text_views(opened.config).tokenizer.encode([sentence], 32)
    vector = opened.tower("text")(tokens.ids, tokens.mask).detach()
    cosines = torch.nn.functional.cosine_similarity(images, vector)
    found = [each["similarity"] for each in query["neighbours"]]
    torch.testing.assert_close(torch.tensor(found), cosines.topk(4).values, atol=1e-5, rtol=0)
    assert (tmp_path / "found.png").is_file()
    for more in (("--tower", "text"), ("--baseline",)):
        refused = ssl("neighbours", run, "--text", sentence, *more)
        assert refused.code == 2
        assert f"where: {more[0]}" in refused.err


def test_the_python_door_gives_the_numbers(run):
    result = sslcli.retrieval_eval(run)
    assert result.metrics()["text_to_image_r1"] == result.text_to_image.at[1]
    assert result.path.is_file()
