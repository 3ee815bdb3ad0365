"""Whatever bytes an image has, it is loaded or refused in words."""

import pytest
from survey import faults, summary, survey


@pytest.mark.parametrize(
    "seeds", [range(60), pytest.param(range(2_000), marks=pytest.mark.slow)], ids=["some", "all"]
)
def test_a_mutated_image_is_loaded_or_refused(tmp_path, seeds):
    rows = survey("mutated_images", seeds, tmp_path)
    print(summary(rows))
    assert faults(rows) == []
    assert not list(tmp_path.rglob("*canary*"))
