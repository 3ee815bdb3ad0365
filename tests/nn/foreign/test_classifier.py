"""A classifier is found behind its network or beside it, by the names of its code."""

import pytest
import torch

from sslcli.nn.foreign.classifier import USUAL, find_classifier


def layer(name, classes=3, width=4):
    return {f"{name}.weight": torch.ones(classes, width), f"{name}.bias": torch.zeros(classes)}


@pytest.mark.parametrize(
    ("name", "prefix", "names"),
    [
        ("fc", "", USUAL),
        ("module.fc", "module.", USUAL),
        ("head.fc", "", USUAL),
        ("classifier.1", "resnet.", USUAL),
        ("model_state_dict.class_output", "model_state_dict.f.", ("class_output",)),
    ],
)
def test_it_lies_behind_the_network_or_beside_it(name, prefix, names):
    found = find_classifier(layer(name), prefix, names, 4)
    assert (found.name, found.weight.shape, found.bias.dtype) == (name, (3, 4), torch.float32)


@pytest.mark.parametrize(
    "stored",
    [
        layer("fc", width=5),
        layer("fc", classes=1),
        {"fc.weight": torch.ones(3, 4)},
        layer("fc.0"),
        layer("head") | layer("head_dist"),
        layer("other.fc"),
    ],
    ids=["width", "one class", "no bias", "projection", "two heads", "elsewhere"],
)
def test_what_is_no_linear_classifier_of_these_features_is_left(stored):
    assert find_classifier(stored, "", USUAL, 4) is None
