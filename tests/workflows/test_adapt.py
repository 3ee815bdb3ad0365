"""A preset's numbers follow the images, and give way to whatever a person has set."""

import numpy as np
import pytest
from PIL import Image

from sslcli.config.presets import resolve, to_toml
from sslcli.data.sources.looks import Look
from sslcli.data.sources.looks import look_at as real_look_at
from sslcli.listener import Quiet
from sslcli.workflows.adapt import adapted

PRESET = "simclr/cifar10-small"
GREY = {"views.0.jitter.hue": 0.0, "views.0.jitter.saturation": 0.0, "views.0.grayscale": 0.0}


class Notes(Quiet):
    def __init__(self):
        self.told = []

    def note(self, text):
        self.told.append(text)


@pytest.fixture
def complete(monkeypatch):
    """Return a function that adapts a preset to images of which it is told."""

    def on(look, *options, preset=PRESET, config=None):
        monkeypatch.setattr("sslcli.data.sources.looks.look_at", lambda spec, root: look)
        notes = Notes()
        return adapted(resolve(preset, config, {}, options), notes).config, notes.told

    return on


def few(images, is_grey=False):
    return Look(images, 32, is_grey)


def test_few_images_are_shown_for_more_epochs_and_the_reason_is_told(complete):
    config, (told,) = complete(few(5_000))
    assert config.train.duration == "80 epochs"
    assert told.startswith("train.duration is 80 epochs, because there are 5,000 images")
    assert complete(few(10))[0].train.duration == "400 epochs"


def test_as_many_images_as_the_preset_is_for_and_more_leave_it_alone(complete):
    assert complete(few(50_000)) == (complete(few(10**6))[0], [])
    assert complete(few(50_000))[0].train.duration == "8 epochs"
    half = resolve(PRESET, None, {"adapt.images": 1, "train.duration": "0.5 epochs"})
    assert adapted(half, Notes()).config.train.duration == "0.5 epochs"


def test_a_batch_is_halved_until_an_epoch_has_a_few_but_not_for_ever(complete):
    assert complete(few(1_024))[0].train.batch_size == 256
    assert complete(few(1_023))[0].train.batch_size == 128
    assert complete(few(20))[0].train.batch_size == 16


def test_grey_images_get_views_without_colour(complete):
    config, (told,) = complete(few(50_000, is_grey=True))
    view = config.views[0]
    assert (view.jitter.hue, view.jitter.saturation, view.grayscale) == (0, 0, 0)
    assert view.jitter.contrast == 0.4
    assert "no image has colour" in told


def test_what_options_and_config_files_say_stands(complete, tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text('[train]\nduration = "3 epochs"\n')
    look = few(20, is_grey=True)
    by_file, _ = complete(look, "train.batch_size=8", "views.0.grayscale=0.1", config=file)
    assert (by_file.train.duration, by_file.train.batch_size) == ("3 epochs", 8)
    assert (by_file.views[0].grayscale, by_file.views[0].jitter.hue) == (0.1, 0)
    file.write_text(f'extends = "{PRESET}"\n[train]\nduration = "3 epochs"\n')
    assert complete(look, preset=str(file))[0].train.duration == "3 epochs"


def test_a_file_that_asks_for_adapting_gets_it(complete, tmp_path):
    file = tmp_path / "mine.toml"
    text = '[train]\nduration = "4 epochs"\n[adapt]\nimages = 100\nmost_epochs = 90\n'
    file.write_text(f'extends = "{PRESET}"\n{text}')
    assert complete(few(20), preset=str(file))[0].train.duration == "20 epochs"


def test_the_outcome_repeats_itself_and_adapts_no_more(complete, tmp_path):
    config, _ = complete(few(500, is_grey=True))
    assert config.adapt is None
    file = tmp_path / "config.toml"
    file.write_text(to_toml(config))
    assert complete(few(7), preset=None, config=file) == (config, [])


def test_rows_that_a_config_counts_are_not_counted_in_the_data(complete):
    config, told = complete(few(20), preset="exemplar-cnn/cifar10-small")
    assert (config.train.duration, config.train.batch_size, told) == ("100 epochs", 256, [])


def test_images_are_counted_measured_and_looked_at_for_colour(tmp_path):
    for index, colour in enumerate([(9, 9, 9), (7, 7, 7), (8, 8, 8)]):
        Image.fromarray(np.full((40, 50 + index, 3), colour, np.uint8)).save(
            tmp_path / f"{index}.png"
        )
    assert real_look_at(str(tmp_path)) == Look(3, 40, is_grey=True)
    Image.fromarray(np.full((40, 60, 3), (9, 8, 9), np.uint8)).save(tmp_path / "3.png")
    assert real_look_at(str(tmp_path)) == Look(4, 40, is_grey=False)


def test_torchvisions_sets_are_known_before_they_are_fetched():
    assert real_look_at("fashion-mnist", "nowhere") == Look(60_000, 28, is_grey=True)
