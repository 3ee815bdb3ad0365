import pytest

from sslcli.methods.base import Progress, cosine


@pytest.mark.parametrize(
    ("step", "expected"), [(0, 0.996), (25, 0.9965858), (50, 0.998), (75, 0.9994142), (100, 1)]
)
def test_a_targets_momentum_has_its_golden_values(step, expected):
    progress = Progress(step, total_steps=100, steps_per_epoch=10)
    assert progress.cosine(0.996, 1.0) == pytest.approx(expected, abs=5e-8)


def test_a_cosine_to_one_ends_at_exactly_one():
    assert cosine(0.996, 1.0, 1000, 1000) == 1.0
    assert cosine(0.996, 1.0, 1001, 1000) == 1.0


def test_a_cosine_of_no_steps_is_at_its_end():
    assert cosine(1.0, 0.5, 0, 0) == 0.5
