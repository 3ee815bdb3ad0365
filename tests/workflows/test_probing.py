"""What training measures of itself on the way."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from sslcli import assemble
from sslcli.config.presets import list_presets, resolve
from sslcli.data.sources import open as sources
from sslcli.data.sources.open import ArraySource, open_source
from sslcli.errors import UsageError
from sslcli.methods.base import Method
from sslcli.workflows.probing import (
    best_of,
    check_best,
    online_probe,
    paired_features,
    why_no_online_knn,
)

CPU = torch.device("cpu")


@pytest.fixture
def guesses(monkeypatch):
    """Put 200 pictures of noise, in 4 classes that say nothing, where every path leads."""
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (200, 3, 8, 8), dtype=np.uint8)
    source = ArraySource("/guesses", pixels, random.integers(0, 4, 200), tuple("abcd"))
    monkeypatch.setattr(sources, "_open", lambda *_: source)


def config(preset, **fields):
    plain = {"data.source": "/guesses", "data.mean": [0.0, 0.0, 0.0], "data.std": [1.0, 1.0, 1.0]}
    plain |= {"evaluation.k": 1, "evaluation.online_every": "1 epochs"}
    return resolve(preset, None, plain | fields).config


class Memoriser(Method):
    """An encoder that gives the class of every image of a source, and noise for the others."""

    def __init__(self, source):
        super().__init__()
        known = {source.load(row).tobytes(): source.labels[row] for row in range(len(source))}
        self.encoder = nn.Module()
        self.encoder.forward = lambda images: torch.stack([*map(self.answer, images)])
        self.known = known

    def forward(self, batch, progress):
        pytest.fail("a probe asks the encoder alone")

    def answer(self, image):
        pixels = (image * 255).round().to(torch.uint8).permute(1, 2, 0)
        key = self.known.get(pixels.contiguous().numpy().tobytes())
        return torch.rand(4) if key is None else torch.eye(4)[key]


@pytest.mark.parametrize("method", ["supervised", "supcon", "jem", "hdge"])
def test_methods_that_learn_labels_are_asked_for_what_training_did_not_see(guesses, method):
    fields = {"method.num_classes": 4, "data.validation": 0.25}
    chosen = config(f"{method}/digits", **fields)
    splits = assemble.open_training(chosen)
    assert len(splits.validation) == 40
    torch.manual_seed(0)
    found = online_probe(chosen, splits, CPU, "fp32").measure(Memoriser(splits.train))
    assert found["online_knn_top1"] < 0.5
    everything = assemble.open_training(config("simsiam/digits")).train
    assert (
        online_probe(chosen, splits, CPU, "fp32").measure(Memoriser(everything))["online_knn_top1"]
        == 1
    )


def test_without_such_images_nothing_is_measured_and_why_is_said(guesses):
    chosen = config("supcon/digits", **{"method.num_classes": 4})
    splits = assemble.open_training(chosen)
    assert online_probe(chosen, splits, CPU, "fp32") is None
    assert "learns the labels" in why_no_online_knn(chosen, splits)
    assert online_probe(config("simsiam/digits"), splits, CPU, "fp32") is not None


@pytest.mark.parametrize(
    ("best", "metric"), [("linear", "online_linear_top1"), ("knn", "online_knn_top1")]
)
def test_the_best_is_told_by_a_slice_of_the_training_data(guesses, best, metric):
    chosen = config("simsiam/digits", **{"train.best": best, "evaluation.online_every": None})
    splits = assemble.open_training(chosen)
    probe = online_probe(chosen, splits, CPU, "fp32")
    assert probe.every == "5%"
    found = probe.measure(Memoriser(splits.train))
    assert found == {metric: 1.0}
    assert best_of(chosen, splits).metric == metric


def test_the_rank_needs_no_labels(guesses):
    chosen = config("simsiam/digits", **{"train.best": "rank"})
    splits = assemble.open_training(chosen)
    splits.train.labels = None
    check_best(chosen, splits)
    found = online_probe(chosen, splits, CPU, "fp32").measure(
        Memoriser(ArraySource("none", np.zeros((0, 3, 8, 8), np.uint8)))
    )
    assert 2 < found.pop("online_rank") <= 4
    assert found == {}
    with pytest.raises(UsageError, match="no two classes"):
        check_best(config("simsiam/digits", **{"train.best": "knn"}), splits)


def test_what_is_measured_anyway_is_followed_and_not_kept(guesses):
    chosen = config("simsiam/digits")
    best = best_of(chosen, assemble.open_training(chosen))
    assert (best.metric, best.keeps, best.patience) == ("online_knn_top1", False, None)
    silent = config("simsiam/digits", **{"evaluation.online_every": None})
    assert best_of(silent, assemble.open_training(silent)) is None


def test_pairs_of_views_leave_out_what_cannot_be_read(tmp_path):
    random = np.random.default_rng(0)
    for number in range(6):
        pixels = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")

    def pairs():
        fields = {"data.source": str(tmp_path), "data.max_bad_fraction": 0.5}
        chosen = config("simsiam/digits", **fields)
        source = open_source(str(tmp_path), part=None)
        return paired_features(nn.Flatten(), source, chosen, CPU, "fp32")

    whole = pairs()
    (tmp_path / "6.png").write_bytes(b"no image")
    assert all(map(torch.equal, pairs(), whole))
    assert len(whole[0]) == 6


def test_the_methods_that_are_given_labels_are_known():
    digits = [resolve(name).config.method for name in list_presets() if name.endswith("/digits")]
    learning = {section.name for section in digits if section.learns_labels}
    adversarial = {"advprop", "fast-advprop"}
    assert learning == {"supcon", "supervised", "jem", "hdge", "igebm"} | adversarial
