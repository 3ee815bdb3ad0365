"""Hugging Face folders, written by their own libraries, give the libraries' forward passes."""

import json
import tempfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from sslcli.config.encoder import EncoderConfig
from sslcli.errors import CheckpointError
from sslcli.nn.encoders import build_encoder
from sslcli.nn.foreign.files import read_tensors
from sslcli.nn.foreign.fit import find_fit
from sslcli.nn.foreign.folder import described
from sslcli.nn.foreign.guess import guess_encoder
from sslcli.nn.weights import put_weights

STATISTICS = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.2, 0.3]}


def written(path, config, **files):
    path.mkdir(exist_ok=True)
    for name, content in {"config": config, **files}.items():
        (path / f"{name}.json").write_text(json.dumps(content))
    return path


def loaded(folder, image_size):
    """Return our network with the weights of a folder, in evaluation mode."""
    stored, found = read_tensors(folder), described(folder)
    encoder = found.encoder or guess_encoder(stored, str(folder))
    network = build_encoder(encoder, image_size).eval()
    put_weights(network, stored, str(folder))
    return network


def test_transformers_vit(tmp_path):
    from transformers import ViTConfig, ViTModel

    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=48, num_hidden_layers=2, num_attention_heads=3, intermediate_size=192,
        image_size=32, patch_size=8, layer_norm_eps=1e-6,
    )  # fmt: skip
    theirs = ViTModel(config).eval()
    weights = {f"vit.{n}": x.contiguous() for n, x in _on_the_hub(theirs).items()}
    save_file(weights | {"classifier.weight": torch.ones(2, 48)}, tmp_path / "model.safetensors")
    processor = {"size": {"height": 32, "width": 32}, "resample": 3, **STATISTICS}
    (tmp_path / "README.md").write_text("---\ntags: [x]\nlicense: apache-2.0\n---\n# Model\n")
    written(tmp_path, config.to_dict(), preprocessor_config=processor)
    found = described(tmp_path)
    assert found.encoder.name == "vit-2-48-3"
    assert found.licence == "apache-2.0"
    assert found.data == {
        "image_size": 32, "resize": 32, "interpolation": "bicubic", "mean": (0.5, 0.4, 0.3),
        "std": (0.2, 0.2, 0.3),
    }  # fmt: skip
    assert any("squeezes" in note for note in found.notes)
    images = torch.randn(2, 3, 32, 32)
    expected = theirs(images).last_hidden_state[:, 0]
    torch.testing.assert_close(loaded(tmp_path, 32)(images), expected, atol=1e-5, rtol=1e-5)


def _on_the_hub(model):
    """Return a model's weights by the names that its files on the hub have."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        return read_tensors(Path(folder))


def test_transformers_resnet(tmp_path):
    from transformers import ResNetConfig, ResNetModel

    torch.manual_seed(0)
    config = ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16, 32, 64], layer_type="basic", depths=[1, 1, 1, 1]
    )
    theirs = ResNetModel(config).eval()
    theirs.save_pretrained(tmp_path)
    processor = {"crop_pct": 0.875, "size": {"shortest_edge": 224}, "resample": 2, **STATISTICS}
    written(tmp_path, config.to_dict(), preprocessor_config=processor)
    found = described(tmp_path)
    assert (found.data["image_size"], found.data["resize"]) == (224, 256)
    images = torch.randn(2, 3, 64, 64)
    expected = theirs(images).pooler_output.flatten(1)
    torch.testing.assert_close(loaded(tmp_path, 64)(images), expected, atol=1e-4, rtol=1e-4)
    with torch.device("meta"):  # ResNet-50, whose blocks have a third convolution
        names = ResNetModel(ResNetConfig()).state_dict()
        own = build_encoder(EncoderConfig(name="resnet50"), 224).state_dict()
    fit = find_fit(own, names, "here")
    assert (fit.spelling.label, len(fit.found)) == ("those of transformers' ResNet", len(own))


def test_timm(tmp_path):
    import timm

    theirs = timm.create_model("test_vit", num_classes=5).eval()
    save_file(theirs.state_dict(), tmp_path / "model.safetensors")
    known = {
        "input_size": [3, 160, 160], "crop_pct": 0.95, "interpolation": "bicubic",
        "mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2], "license": "mit", "crop_mode": "squash",
    }  # fmt: skip
    written(tmp_path, {"architecture": "test_vit", "pretrained_cfg": known})
    found = described(tmp_path)
    assert found.encoder.name == "timm:test_vit"
    assert (found.data["image_size"], found.data["resize"], found.licence) == (160, 168, "mit")
    assert "squash" in found.notes[0]
    images = torch.randn(2, 3, 160, 160)
    expected = theirs.forward_head(theirs.forward_features(images), pre_logits=True)
    torch.testing.assert_close(loaded(tmp_path, 160)(images), expected)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"model_type": "gpt2"}, "no encoder of ours is a 'gpt2'"),
        ({"model_type": "resnet", "downsample_in_bottleneck": True}, "downsample_in_bottleneck"),
        ({"model_type": "vit"}, "cannot be understood: KeyError"),
        ({"architecture": "resnet18"}, "cannot be understood: KeyError"),
    ],
)
def test_configs_of_other_networks_are_refused(tmp_path, config, said):
    with pytest.raises(CheckpointError, match=said) as caught:
        described(written(tmp_path, config))
    assert caught.value.where == str(tmp_path / "config.json")


def test_a_folder_without_a_config_or_with_a_broken_one(tmp_path):
    assert described(tmp_path) is None
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match="no JSON"):
        described(tmp_path)
