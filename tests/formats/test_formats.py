import json

import pytest
import torch
from PIL import Image
from safetensors import safe_open

from sslcli.config.encoder import EncoderConfig
from sslcli.config.pixels import FITTING, Pixels
from sslcli.data.images.color import rgb_to_lab
from sslcli.errors import UsageError
from sslcli.formats import FORMATS, ExportMeta, ImageInput, export_encoder
from sslcli.formats.inputs import FromPixels
from sslcli.nn.encoders import build_encoder
from sslcli.nn.weights import load_encoder_weights

SIZE = 32
CIFAR = {"name": "resnet10", "stem": "cifar"}


def meta(**settings) -> ExportMeta:
    pixels = Pixels(SIZE, (0.5, 0.4, 0.3), (0.2, 0.2, 0.3), resize=36)
    return ExportMeta(EncoderConfig(**settings), ImageInput(pixels))


def trained(settings: ExportMeta):
    """Return an encoder with running statistics that a fresh one does not have."""
    torch.manual_seed(0)
    encoder = build_encoder(settings.encoder, SIZE)
    with torch.no_grad():
        encoder(torch.randn(8, 3, SIZE, SIZE) + 1)
    return encoder


def exported(format: str, directory, **settings):
    about = meta(**settings)
    encoder = trained(about)
    report = export_encoder(format, encoder, about, directory / f"encoder{FORMATS[format]}")
    assert report.max_abs_error <= report.tolerance
    assert report.compared == 9
    assert report.bytes == report.path.stat().st_size
    assert list(directory.iterdir()) == [report.path]
    return encoder.eval(), report


def follow(report) -> dict:
    """Run what the report prints, on a photo, and return all that it names."""
    photo = report.path.with_name("photo.jpg")
    Image.linear_gradient("L").resize((50, 40)).save(photo)
    scope: dict = {}
    exec("\n".join(report.notes).replace("photo.jpg", str(photo)), scope)
    assert scope["images"].shape == (1, 3, SIZE, SIZE)
    return scope


def agree(features, encoder):
    images = torch.rand(2, 3, SIZE, SIZE)
    with torch.no_grad():
        torch.testing.assert_close(features(images), encoder(images), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["resnet8", "timm:test_vit"])
def test_safetensors_starts_another_run_and_tells_what_it_holds(tmp_path, name):
    encoder, report = exported("safetensors", tmp_path, name=name)
    other = build_encoder(EncoderConfig(name=name), SIZE).eval()
    load_encoder_weights(other, report.path)
    agree(other, encoder)
    with safe_open(report.path, "pt") as file:
        metadata = file.metadata()
    assert metadata["format"] == "pt"
    assert metadata["architecture"] == name
    assert json.loads(metadata["encoder"])["stem_padding"] == 1
    assert json.loads(metadata["mean"]) == [0.5, 0.4, 0.3]
    assert json.loads(metadata["feature_dim"]) == encoder.feature_dim
    assert json.loads(metadata["preprocessing"])["resize"]["shorter_side"] == 36
    assert json.loads(metadata["preprocessing"])["crop"] == {"size": [SIZE, SIZE], "at": "centre"}


@pytest.mark.parametrize("library", ["torchvision", "timm"])
@pytest.mark.parametrize(
    "settings",
    [
        {"name": "resnet10"},
        {"name": "resnet18", "width": 64},
        CIFAR,
        {**CIFAR, "stem_padding": 2},
        {**CIFAR, "stem_stride": 2},
    ],
)
def test_the_printed_lines_load_a_resnet_strictly(tmp_path, library, settings):
    encoder, report = exported(library, tmp_path, **settings)
    agree(follow(report)["model"], encoder)


@pytest.mark.parametrize("format", ["safetensors", "torchvision", "timm", "pt2"])
def test_unit_vectors_stay_unit_vectors_in_every_format(tmp_path, format):
    width = 4 if format == "pt2" else None  # the libraries have their own width only
    exported(format, tmp_path, name="resnet10", width=width, normalize_features=True)


def test_the_printed_lines_load_a_timm_model(tmp_path):
    encoder, report = exported("timm", tmp_path, name="timm:test_vit")
    agree(follow(report)["model"], encoder)
    assert "img_size=32" in "".join(report.notes)


def test_pt2_runs_without_our_code(tmp_path):
    encoder, report = exported("pt2", tmp_path, name="resnet8", width=4)
    agree(follow(report)["model"], encoder)
    extra = {"metadata.json": ""}
    torch.export.load(report.path, extra_files=extra)
    described = json.loads(extra["metadata.json"])
    assert described["architecture"] == "resnet8"
    assert json.loads(described["preprocessing"])["resize"]["antialias"] is True


def test_onnx_runs_in_onnxruntime_without_chatter(tmp_path, capfd):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    encoder, report = exported("onnx", tmp_path, name="resnet8", width=4)
    session = follow(report)["session"]
    agree(lambda x: torch.from_numpy(session.run(None, {"images": x.numpy()})[0]), encoder)
    described = session.get_modelmeta().custom_metadata_map
    assert described["image_size"] == "32"
    assert json.loads(described["preprocessing"])["range"] == [0, 1]
    assert session.get_inputs()[0].shape == ["batch", 3, SIZE, SIZE]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("format", "settings", "reason", "instead"),
    [
        ("torchvision", {"name": "resnet20"}, "CIFAR family", "safetensors, onnx or pt2"),
        ("timm", {"name": "resnet20"}, "CIFAR family", "safetensors, onnx or pt2"),
        ("torchvision", {"name": "resnet10", "width": 8}, "8 wide", "safetensors"),
        ("timm", {"name": "resnet10", "width": 8}, "8 wide", "safetensors"),
        ("torchvision", {"name": "timm:test_vit"}, "no model of torchvision", "timm"),
    ],
)
def test_a_network_the_library_lacks_is_refused(tmp_path, format, settings, reason, instead):
    about = meta(**settings)
    with pytest.raises(UsageError, match=reason) as caught:
        export_encoder(format, build_encoder(about.encoder, SIZE), about, tmp_path / "encoder")
    assert instead in caught.value.hint
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("format", ["onnx", "pt2"])
def test_a_program_of_l_and_ab_is_one_that_takes_red_green_and_blue(format, tmp_path):
    pixels = Pixels(SIZE, *FITTING["lab"], space="lab", resize=36)
    config = EncoderConfig(name="resnet8", width=4, split=((0,), (1, 2)))
    encoder = trained(ExportMeta(config, ImageInput(pixels))).eval()
    about = ExportMeta(config, ImageInput(pixels, inside=True))
    path = tmp_path / f"encoder{FORMATS[format]}"
    report = export_encoder(format, FromPixels(encoder, pixels), about, path)
    assert report.max_abs_error <= report.tolerance
    images = torch.rand(2, 3, SIZE, SIZE)
    lab = torch.from_numpy(rgb_to_lab(images).numpy())
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in FITTING["lab"])
    scope = follow(report)
    run = scope["model"] if format == "pt2" else None
    found = run(images) if run else scope["session"].run(None, {"images": images.numpy()})[0]
    with torch.no_grad():
        expected = encoder((lab - mean) / std)
    torch.testing.assert_close(torch.as_tensor(found), expected, rtol=1e-4, atol=1e-4)
    assert scope["images"].min() >= 0
    facts = about.inputs.facts["preprocessing"]
    assert facts["space"] == "rgb"
    assert facts["inside_the_file"]["space"] == "lab"


def test_other_libraries_have_no_split_network(tmp_path):
    for settings in ({"split": ((0,), (1, 2))}, {"stem_width": 32}):
        with pytest.raises(UsageError, match="torchvision has no"):
            exported("torchvision", tmp_path, name="resnet18", **settings)
