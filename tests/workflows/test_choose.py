"""What is to be trained is decided from names and files, before torch is imported."""

import subprocess
import sys

from sslcli.workflows.choose import fields_of


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
    assert told.split() == ["simsiam/digits", "5", "False"]
