"""What sections of methods declare, and what they make of the data's facts."""

import pytest

from sslcli.config.methods.registry import SECTIONS
from sslcli.config.older import in_todays_fields
from sslcli.config.pixels import Pixels
from sslcli.config.presets import resolve
from sslcli.config.section import DataFacts, LabelledSection
from sslcli.errors import ConfigError

TEN = DataFacts("digits", 1_000, tuple("0123456789"))
UNLABELLED = DataFacts("photos", 1_000, ())


def section(preset, **fields):
    return resolve(preset, None, fields).config.method


@pytest.mark.parametrize("name", ["instdisc", "exemplar-cnn"])
def test_memories_of_images_take_their_size_from_the_data(name):
    unset = section(f"{name}/digits")
    assert unset.complete(TEN).num_instances == 1_000
    assert unset.model_copy(update={"num_instances": 7}).complete(TEN).num_instances == 7


@pytest.mark.parametrize("name", ["supervised", "supcon", "jem", "hdge", "igebm"])
def test_methods_of_classes_need_the_datas_classes(name):
    fitting = section(f"{name}/digits", **{"method.num_classes": 10})
    assert fitting.learns_labels
    assert fitting.complete(TEN) == fitting
    with pytest.raises(ConfigError, match="has no labels"):
        fitting.complete(UNLABELLED)
    with pytest.raises(ConfigError, match="10 classes, and digits has 3"):
        fitting.complete(DataFacts("digits", 9, tuple("abc")))


def test_an_energy_without_classes_reads_no_labels():
    free = section("igebm/digits").model_copy(update={"num_classes": None})
    assert not free.learns_labels
    assert free.complete(UNLABELLED) == free


def test_what_learns_from_a_checkpoint_says_so():
    assert {name for name, each in SECTIONS.items() if each.from_checkpoint} == {
        *("linear-probe", "finetune", "distill", "imported", "zero-shot")
    }


def test_num_classes_is_read_by_those_who_learn_classes_alone():
    having = {name for name, each in SECTIONS.items() if "num_classes" in each.model_fields}
    labelled = {name for name, each in SECTIONS.items() if issubclass(each, LabelledSection)}
    assert having - labelled == {"igebm", "distill"}


def test_a_student_distilled_before_its_classes_were_renamed_is_read():
    older = {"method": {"name": "distill", "classes": 10, "temperature": 1.0, "alpha": 1.0}}
    assert in_todays_fields(older)["method"]["num_classes"] == 10
    other = {"method": {"name": "mine.py:Mine", "classes": 10}}
    assert in_todays_fields(other) == other


def test_levels_are_spread_in_the_range_of_images_alone():
    igebm, size = section("igebm/digits"), (8, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    moved = DataFacts("digits", 1_000, TEN.classes, pixels=Pixels(*size))
    with pytest.raises(ConfigError, match=r"in \[0, 1\]") as caught:
        igebm.complete(moved)
    assert "data.mean=[0, 0, 0]" in caught.value.hint
    plain = igebm.model_copy(update={"dequantize": False})
    assert plain.complete(moved) == plain
