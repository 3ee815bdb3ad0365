import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from ranks import Ranks


@pytest.fixture(scope="session", autouse=True)
def _own_state(tmp_path_factory):
    """Keep what tests name as theirs out of the developer's own state folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="session")
def two():
    """Two processes that train together; see `ranks.Ranks`."""
    with Ranks(2) as ranks:
        yield ranks
