"""Durations are counted in steps, shares and epochs, with a floor where one is given."""

import pytest

from sslcli.config.duration import Duration


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("10 epochs", 40),
        ("0.5 epochs", 2),
        ("7 steps", 7),
        ("5%", 10),
        ("10 epochs, at least 300 steps", 300),
        ("10 epochs, at least 30 steps", 40),
        ("5%, at least 12 steps", 12),
    ],
)
def test_a_duration_is_counted_in_steps(text, steps):
    assert Duration(text).steps(steps_per_epoch=4, total_steps=200) == steps


def test_spelling_does_not_matter():
    assert Duration(" 2.5epoch ,at  least 1 step") == "2.5 epoch, at least 1 steps"


@pytest.mark.parametrize(
    "text",
    ["10 epochs, at least 3 epochs", "at least 3 steps", "10 epochs, at least 2.5 steps",
     "10 epochs at least 3 steps", f"1 epochs, at least {10**13} steps"],
)  # fmt: skip
def test_what_is_no_floor_is_refused(text):
    with pytest.raises(ValueError, match=r"no duration|longer than any run"):
        Duration(text)
