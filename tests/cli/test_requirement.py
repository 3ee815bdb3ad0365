import math
import subprocess
import sys

import pytest

from sslcli.cli.requirement import Requirement, unmet
from sslcli.errors import UsageError


@pytest.mark.parametrize(
    ("text", "value", "met"),
    [
        ("top1>=0.85", 0.85, True),
        (" top1 >= 8.5e-1 ", 0.84, False),
        ("top1>0.85", 0.85, False),
        ("top1<=0.85", 0.85, True),
        ("top1<0.85", 0.85, False),
        ("top1==0.3", 0.1 + 0.2, True),
        ("top1>=0", math.nan, False),
    ],
)
def test_requirement_compares(text: str, value: float, met: bool):
    assert Requirement.parse(text).check({"top1": value}) is met


@pytest.mark.parametrize(
    "text", ["", "top1", "top1=0.85", "top1>=", "0.85<=top1", "top1>=nan", "top1>=85%"]
)
def test_malformed_requirement_is_wrong_use(text: str):
    with pytest.raises(UsageError, match="is no requirement") as caught:
        Requirement.parse(text)
    assert caught.value.where == "--require"


def test_unknown_metric_names_the_nearest():
    with pytest.raises(UsageError) as caught:
        Requirement.parse("topp1>=0.5", known=("top1", "top5", "n"))
    assert "did you mean 'top1'?" in caught.value.hint


def test_metric_names_may_hold_slashes_dots_and_dashes():
    assert Requirement.parse("auroc/fashion-mnist.max>=0.5").metric == "auroc/fashion-mnist.max"


def test_all_that_is_unmet_is_named():
    requirements = [Requirement.parse(text) for text in ("top1>=0.9", "top5>=0.9", "n>=10")]
    found = unmet(requirements, {"top1": 0.5, "top5": 0.8, "n": 100})
    assert found == ["top1 is 0.5, not top1 >= 0.9", "top5 is 0.8, not top5 >= 0.9"]


def test_what_was_not_measured_is_unmet_and_says_why():
    gates = [Requirement.parse(text) for text in ("auroc/odin>=0.9", "top1<=1")]
    assert not gates[0].check({"top1": 0.5})
    (why,) = unmet(gates, {"top1": 0.5}, lambda metric: "there is no classifier")
    assert why == "auroc/odin was not measured: there is no classifier"
    (unknown,) = unmet(gates, {"top1": 0.5})
    assert "does not apply" in unknown


def test_requirements_and_seeds_do_not_import_torch():
    modules = "sslcli.cli.requirement, sslcli.evaluate.seeds"
    code = f"import sys, {modules}; print('torch' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "False"
