"""What is to be trained is decided from names and files, before torch is imported."""

import subprocess
import sys

import pytest

from sslcli.config.methods.registry import SECTIONS
from sslcli.config.presets import list_presets
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


def test_an_unknown_method_is_named_before_the_data_is_looked_at():
    with pytest.raises(UsageError, match="no preset is for a method named 'simsiom'"):
        chosen("simsiom", "nowhere/")
