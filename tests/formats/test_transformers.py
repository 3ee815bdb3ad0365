"""A vision transformer in the formats of other tools."""

import pytest
import torch

from sslcli.config.encoder import EncoderConfig
from sslcli.config.pixels import Pixels
from sslcli.errors import UsageError
from sslcli.formats import FORMATS, ExportMeta, ImageInput, export_encoder
from sslcli.nn.encoders import build_encoder

SINCOS = {"positions": "sin-cos", "init": "xavier", "drop_path": 0.2}


def exported(format, folder, **settings):
    torch.manual_seed(0)
    config = EncoderConfig(name="vit-2-16-2", patch_size=4, **settings)
    meta = ExportMeta(config, ImageInput(Pixels(8, (0.5, 0.4, 0.3), (0.2, 0.2, 0.3))))
    encoder = build_encoder(config, 8)
    return encoder.eval(), export_encoder(format, encoder, meta, folder / f"x{FORMATS[format]}")


@pytest.mark.parametrize("settings", [{}, SINCOS])
@pytest.mark.parametrize("format", ["safetensors", "timm", "pt2"])
def test_every_format_gives_the_same_features(tmp_path, format, settings):
    _, report = exported(format, tmp_path, **settings)
    assert report.compared == 9
    assert report.max_abs_error <= report.tolerance


def test_onnx_gives_the_same_features(tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    _, report = exported("onnx", tmp_path)
    assert report.max_abs_error <= report.tolerance


def test_the_printed_lines_load_timms_class_strictly(tmp_path):
    encoder, report = exported("timm", tmp_path, **SINCOS)
    scope: dict = {}
    first = next(n for n, line in enumerate(report.notes) if line.startswith("import safetensors"))
    exec("\n".join(report.notes[first:-1]), scope)
    images = torch.rand(2, 3, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(scope["model"](images), encoder(images))


def test_torchvision_refuses_and_names_what_does(tmp_path):
    with pytest.raises(UsageError, match="vit-2-16-2 is no model of torchvision") as caught:
        exported("torchvision", tmp_path)
    assert "timm" in caught.value.hint
