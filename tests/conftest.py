import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from ranks import Ranks

# What `--precision auto` takes is a matter of timing; tests are to give the same everywhere.
os.environ["SSL_AUTO_PRECISION"] = "fp32"
# Longest first: what begins last should not take long, while the other worker has nothing to do.
LONG = ["test_devices.py", "test_studies.py", "test_benchmarks.py", "test_faults.py"]
LONG += ["test_processes.py", "test_kill.py", "test_ood_detect.py", "test_contract.py"]


def pytest_collection_modifyitems(items):
    """Begin with the files that take longest; the others stay in their order."""
    items.sort(key=lambda item: (*LONG, item.path.name).index(item.path.name))


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
