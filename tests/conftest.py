import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from ranks import Ranks


@pytest.fixture(scope="session")
def two():
    """Two processes that train together; see `ranks.Ranks`."""
    with Ranks(2) as ranks:
        yield ranks
