"""The built-in scenes: what is drawn, what their captions say, and what the cache keeps."""

import numpy as np
import pytest
import torch

from sslcli.data.sources import scenes
from sslcli.data.sources.base import PART_CODES, take_part
from sslcli.data.sources.captions import DIGITS, HUES, Described, caption
from sslcli.data.sources.open import open_source

FORMS = ["scenes", "scenes-colour"]


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """Both forms, and the handwritten digits that they show."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CACHE", str(tmp_path_factory.mktemp("rendered")))
        return {name: open_source(name, part=None) for name in ("digits", *FORMS)}


@pytest.fixture(scope="module")
def plan(opened):
    digits = opened["digits"]
    copies = np.where(digits.parts == PART_CODES["train"], 4, 3)
    return scenes.draw(torch.from_numpy(np.repeat(np.arange(len(digits)), copies)))


def test_train_and_test_parts_show_different_digits(opened, plan):
    parts = opened["scenes"].parts
    shown = {code: set(plan.digit[parts == code].tolist()) for code in PART_CODES.values()}
    assert not shown[1] & shown[2]
    assert (opened["scenes"].labels == opened["digits"].labels[plan.digit]).all()
    assert [(parts == code).sum() for code in (1, 2)] == [5768, 1065]


def test_they_are_rendered_alike_and_once(opened, monkeypatch):
    monkeypatch.setattr(scenes, "_captions", lambda *_: [])
    for number in range(2):
        found = open_source("scenes", part=None)
        assert found.fingerprint == opened["scenes"].fingerprint
        assert (found.pixels == opened["scenes"].pixels).all()
        if number == 0:
            monkeypatch.setattr(scenes, "render", lambda *_: pytest.fail("rendered again"))


def test_another_version_is_another_data_set(opened, monkeypatch):
    monkeypatch.setattr(scenes, "_captions", lambda *_: [])
    monkeypatch.setattr(scenes, "VERSION", scenes.VERSION + 1)
    monkeypatch.setattr(scenes, "render", lambda form, plan, digits: opened["scenes"].pixels)
    assert open_source("scenes", part=None).fingerprint != opened["scenes"].fingerprint


def test_version_1_is_what_it_was(opened):
    grey, hues = (opened[form] for form in FORMS)
    assert scenes.VERSION == 1, "write down what the new version has"
    assert grey.pixels.mean() == pytest.approx(138.2497, abs=0.001)
    assert hues.pixels.mean() == pytest.approx(106.4013, abs=0.001)
    assert [grey.text(row) for row in (0, 1, 6000)] == [
        "the digit zero towards the left",
        "the digit zero, light grey on a dark grey ground",
        "a white six",
    ]
    assert hues.text(21) == "a large purple five towards the top left of a pink ground"


def test_both_forms_are_the_same_scenes(opened):
    luma = np.tensordot([0.299, 0.587, 0.114], opened["scenes-colour"].pixels[:200], (0, 1))
    grey = opened["scenes"].pixels[:200, 0]
    dimmed = scenes._DIMMED * grey.astype(float)
    assert np.abs(luma - dimmed).max() < 1.5
    assert (opened["scenes"].pixels[:, 0] == opened["scenes"].pixels[:, 2]).all()


def test_a_caption_names_digit_and_hues(opened, plan):
    source, hues = opened["scenes-colour"], list(HUES)
    for row in range(0, len(source), 97):
        words = source.text(row).replace(",", "").split()
        assert DIGITS[source.labels[row]] in words
        named = {hue for hue in hues if hue in words}
        assert named <= {hues[plan.ink_hue[row]], hues[plan.ground_hue[row]]}
    assert (plan.ink_hue != plan.ground_hue).all()


def test_the_digit_lies_where_the_caption_says(opened):
    source = opened["scenes"]
    rows = [row for row in range(600) if "towards the left" in source.text(row)]
    bright = source.pixels[rows, 0].astype(float).mean(axis=0)
    assert bright[:, 4:16].mean() > bright[:, 16:28].mean() + 5


def test_a_caption_is_a_sentence_of_the_grammar():
    scene = Described(7, 0.9, right=-3.0, below=0.0, ink="red", ground="orange", wording=0.0)
    assert caption(scene) == "a large red seven towards the left of an orange ground"


def test_a_part_has_captions_too(opened):
    test = take_part(opened["scenes"], "test")
    assert test.columns == {"image", "text"}
    assert DIGITS[test.labels[5]] in test.text(5)
    assert test.load(5).shape == (32, 32, 3)
