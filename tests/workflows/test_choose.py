"""What is to be trained is decided from names and files, before torch is imported."""

import subprocess
import sys

import pytest
import torch

from sslcli.config.methods.registry import SECTIONS
from sslcli.config.presets import list_presets, resolve
from sslcli.data.sources.looks import Look
from sslcli.errors import DataError, UsageError
from sslcli.listener import QUIET
from sslcli.workflows.choose import choose_preset, fields_of


def test_what_was_not_given_sets_no_field():
    assert fields_of(seed=0, download=False, test=None, keep=2) == {"seed": 0, "train.keep": 2}


def test_a_plan_needs_no_torch():
    code = (
        "import sys\n"
        "from sslcli.listener import QUIET\n"
        "from sslcli.workflows.choose import planned\n"
        "from sslcli.workflows.place import Place\n"
        "config = planned('simsiam', None, None, ['seed=5'], Place(None), 'cpu', 1, QUIET)\n"
        "print(config.preset, config.seed, 'torch' in sys.modules)"
    )
    told = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert told.split() == ["simsiam/scenes", "5", "False"]


def chosen(method, data=None):
    return choose_preset(method, None, None, data, "cpu", QUIET)


@pytest.mark.parametrize(
    "method", [name for name, section in SECTIONS.items() if not section.from_checkpoint]
)
def test_every_method_has_a_preset_for_its_built_in_data(method):
    assert chosen(method) == f"{method}/{SECTIONS[method].builtin}"
    assert chosen(method) in list_presets()


def test_a_section_says_which_built_in_data_its_method_begins_with():
    assert (chosen("jem"), chosen("simsiam")) == ("jem/digits", "simsiam/scenes")
    assert chosen("jem-stable") == "jem-stable/digits"


def test_built_in_data_that_is_named_has_its_preset():
    assert chosen("simsiam", "digits") == "simsiam/digits"
    assert chosen("supervised", "scenes") == "supervised/scenes"


def test_built_in_data_without_a_preset_of_its_name_is_chosen_for_by_size():
    assert chosen("jem", "scenes") == "jem/cifar10-small"


def test_sentences_are_no_data_for_a_method_of_images():
    with pytest.raises(DataError, match="holds pairs of sentences and sentences, not images"):
        chosen("simsiam", "phrases")


def test_images_without_captions_are_no_data_for_a_method_of_both():
    with pytest.raises(DataError, match="holds images, not sentences"):
        chosen("clip", "digits")


def test_an_unknown_method_is_named_before_the_data_is_looked_at():
    with pytest.raises(UsageError, match="no preset is for a method named 'simsiom'"):
        chosen("simsiom", "nowhere/")


@pytest.fixture
def chosen_for(monkeypatch):
    """Return a function that chooses a method's preset for images of a size, on a machine."""

    def choose(method, side, *, has_cuda):
        look = Look(1_000, side, is_grey=False)
        monkeypatch.setattr("sslcli.data.sources.looks.look_at", lambda spec, reads: look)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: has_cuda)
        return choose_preset(method, None, None, "photos", "auto", QUIET)

    return choose


@pytest.mark.parametrize(
    ("side", "has_cuda", "setting"),
    [(28, False, "cifar10-small"), (28, True, "cifar10"), (64, False, "cifar10-small"),
     (96, False, "photos-small"), (96, True, "photos"), (2_000, False, "photos-small")],
)  # fmt: skip
def test_size_and_device_choose_the_setting(chosen_for, side, has_cuda, setting):
    assert chosen_for("simsiam", side, has_cuda=has_cuda) == f"simsiam/{setting}"


def test_a_method_without_that_setting_gets_the_next_that_fits(chosen_for):
    assert chosen_for("moco-v3", 500, has_cuda=False) == "moco-v3/cifar10-small"
    assert chosen_for("moco-v3", 500, has_cuda=True) == "moco-v3/imagenet"
    with pytest.raises(UsageError, match="no preset for this data: the images are about 500 pix"):
        chosen_for("jem", 500, has_cuda=True)


def test_every_preset_of_photos_adapts_to_them():
    photos = [name for name in list_presets() if name.split("/")[1].startswith("photos")]
    assert len(photos) >= 12
    for name in photos:
        adapt = resolve(name).config.adapt
        assert adapt, name
        assert adapt.images, name
        assert adapt.least_batches, name
