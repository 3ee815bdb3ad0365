"""Whatever a preset says, it is built or refused in words."""

import pytest
from survey import faults, summary, survey


@pytest.mark.parametrize(
    "seeds", [range(60), pytest.param(range(2_000), marks=pytest.mark.slow)], ids=["some", "all"]
)
def test_a_mutated_preset_is_built_or_refused(tmp_path, seeds):
    rows = survey("mutated_presets", seeds, tmp_path)
    print(summary(rows))
    assert faults(rows) == []
    assert not list(tmp_path.rglob("*canary*"))
