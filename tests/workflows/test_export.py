"""The encoder of a checkpoint in a file that another tool reads."""

import pytest
from safetensors import safe_open
from safetensors.torch import load_file

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


@pytest.mark.parametrize(
    ("tower", "format"), [("text", "onnx"), ("image", "pt2"), ("text", "safetensors")]
)
def test_a_tower_is_exported_with_its_projection(two_towers, tmp_path, tower, format):
    if format == "onnx":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
    out = tmp_path / "file"
    report = sslcli.export(two_towers, tower=tower, format=format, out=out)
    assert report.max_abs_error <= report.tolerance
    assert (report.reads, report.compared) == (tower, 9)
    if format == "safetensors":
        assert load_file(out)["projection.weight"].shape == (6, 16)
        with safe_open(out, "pt") as opened:
            assert opened.metadata()["projection"] == opened.metadata()["feature_dim"] == "6"


def test_an_export_without_a_tower_is_the_encoder_of_images(two_towers, told, tmp_path):
    sslcli.export(two_towers, out=tmp_path / "file", listener=told)
    assert any("the encoder of images without its projection" in note for note in told.notes)
    assert "projection.weight" not in load_file(tmp_path / "file")


def test_what_has_no_place_for_a_tower_refuses_it(two_towers, encoder_run, tmp_path):
    with pytest.raises(UsageError, match="timm has no place for a tower's projection") as caught:
        sslcli.export(two_towers, tower="image", format="timm", out=tmp_path / "file")
    assert caught.value.where == "tower"
    with pytest.raises(UsageError, match="a run of simsiam has one tower, which reads images"):
        sslcli.export(encoder_run, tower="image", out=tmp_path / "file")
    assert not [*tmp_path.iterdir()]
