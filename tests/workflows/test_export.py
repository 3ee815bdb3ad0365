"""The encoder of a checkpoint in a file that another tool reads."""

import pytest

import sslcli
from sslcli.errors import UsageError


def test_an_export_lies_beside_its_checkpoint_and_is_not_replaced(encoder_run):
    report = sslcli.export(encoder_run)
    assert report.path == encoder_run / "encoder-safetensors.safetensors"
    assert report.path.stat().st_size == report.bytes
    assert report.max_abs_error <= report.tolerance
    assert report.calibrator is None
    with pytest.raises(UsageError, match="exists"):
        sslcli.export(sslcli.load(encoder_run))
    assert sslcli.export(encoder_run, overwrite=True) == report


def test_a_classifier_needs_a_format_that_holds_programs(encoder_run):
    with pytest.raises(UsageError, match="holds an encoder alone") as caught:
        sslcli.export(encoder_run, format="timm", classifier=True)
    assert caught.value.where == "classifier"
