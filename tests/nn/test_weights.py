import os

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from sslcli.config.encoder import EncoderConfig
from sslcli.errors import CheckpointError
from sslcli.nn.encoders import build_encoder
from sslcli.nn.weights import check_weights, load_encoder_weights


def tiny(**settings):
    return build_encoder(EncoderConfig(**{"name": "resnet10", "width": 8, **settings}), 32)


def saved(path, tensors, prefix=""):
    save_file({prefix + name: tensor.clone() for name, tensor in tensors.items()}, path)
    return path


def refused(encoder, path) -> CheckpointError:
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    with pytest.raises(CheckpointError) as caught:
        load_encoder_weights(encoder, path)
    assert caught.value.where == str(path)
    assert caught.value.hint
    assert all(torch.equal(tensor, before[name]) for name, tensor in encoder.state_dict().items())
    return caught.value


@pytest.mark.parametrize("prefix", ["", "encoder.", "method.encoder."])
def test_loads_a_bare_encoder_and_one_within_a_checkpoint(tmp_path, prefix):
    source, target = tiny(), tiny()
    heads = {"method.projector.0.weight": torch.ones(2)} if prefix else {}
    tensors = {prefix + name: tensor for name, tensor in source.state_dict().items()}
    report = load_encoder_weights(target, saved(tmp_path / "w.safetensors", {**tensors, **heads}))
    assert report.ignored == tuple(heads)
    assert set(report.loaded) == set(source.state_dict())
    assert all(map(torch.equal, target.state_dict().values(), source.state_dict().values()))


def test_loads_torchvisions_model_and_reports_its_classifier(tmp_path):
    source = torchvision.models.resnet18()
    target = build_encoder(EncoderConfig(name="resnet18"), 224)
    path = saved(tmp_path / "w.safetensors", source.state_dict())
    report = load_encoder_weights(target, path)
    assert report.ignored == ("fc.bias", "fc.weight") or report.ignored == ("fc.weight", "fc.bias")
    assert torch.equal(target.layer4[1].conv2.weight, source.layer4[1].conv2.weight)


def test_half_precision_and_files_without_batch_counters_load(tmp_path):
    weights = {
        name: tensor.bfloat16()
        for name, tensor in tiny().state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    target = tiny()
    load_encoder_weights(target, saved(tmp_path / "w.safetensors", weights))
    assert torch.equal(target.conv1.weight, weights["conv1.weight"].float())


def test_names_what_is_missing_and_unexpected(tmp_path):
    weights = tiny().state_dict()
    weights["conv9.weight"] = weights.pop("conv1.weight")
    fault = refused(tiny(), saved(tmp_path / "w.safetensors", weights))
    assert "missing (conv1.weight)" in fault.what
    assert "1 unexpected (conv9.weight)" in fault.what


@pytest.mark.parametrize(
    ("settings", "hint"),
    [
        ({"stem": "cifar"}, 'encoder.stem = "cifar"'),
        ({"width": 16}, "16 wide"),
        ({"name": "resnet18"}, "2-2-2-2 blocks"),
        ({"name": "timm:test_vit", "width": None}, "another network"),
    ],
)
def test_hint_guesses_the_setting_that_differs(tmp_path, settings, hint):
    path = saved(tmp_path / "w.safetensors", tiny(**settings).state_dict())
    fault = refused(tiny(), path)
    assert hint in fault.hint


def test_shapes_are_told_for_both_sides(tmp_path):
    path = saved(tmp_path / "w.safetensors", tiny().state_dict())
    what = refused(tiny(stem="cifar"), path).what
    assert "conv1.weight [8, 3, 7, 7] in the file, [8, 3, 3, 3] here" in what


def test_integers_and_values_that_are_not_finite_are_refused(tmp_path):
    weights = tiny().state_dict()
    weights["conv1.weight"] = weights["conv1.weight"].to(torch.int8)
    weights["bn1.weight"] = weights["bn1.weight"] * float("nan")
    fault = refused(tiny(), saved(tmp_path / "w.safetensors", weights))
    assert "1 of another type (conv1.weight)" in fault.what
    assert "1 with values that are not finite (bn1.weight)" in fault.what


@pytest.mark.parametrize("content", [b"", b"not weights", b"\xff" * 64])
def test_damaged_files_are_refused(tmp_path, content):
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    refused(tiny(), path)


def test_a_truncated_file_is_refused(tmp_path):
    path = saved(tmp_path / "w.safetensors", tiny().state_dict())
    os.truncate(path, path.stat().st_size // 2)
    refused(tiny(), path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    assert "does not exist" in refused(tiny(), tmp_path / "none.safetensors").what
    assert "folder" in refused(tiny(), tmp_path).what


def test_unexpected_batch_counters_are_refused(tmp_path):
    weights = {**tiny().state_dict(), "other.num_batches_tracked": torch.tensor(1)}
    fault = refused(tiny(), saved(tmp_path / "w.safetensors", weights))
    assert "1 unexpected (other.num_batches_tracked)" in fault.what


def test_weights_are_compared_with_an_encoder_that_takes_no_memory():
    with torch.device("meta"):
        large = build_encoder(EncoderConfig(name="resnet152", width=4096), 32)
    with pytest.raises(CheckpointError, match="of another shape") as caught:
        check_weights(large, {"conv1.weight": torch.ones(1)}, "here")
    assert caught.value.where == "here"


@pytest.mark.parametrize(
    "prefix", ["module.", "backbone.", "module.encoder_q.", "state.model.net."]
)
def test_what_other_codes_put_before_every_name_is_cut_off_and_told(tmp_path, prefix):
    source, target = tiny(), tiny()
    tensors = {prefix + name: tensor for name, tensor in source.state_dict().items()}
    tensors |= {f"{prefix}fc.0.weight": torch.ones(2), "queue": torch.ones(3)}
    report = load_encoder_weights(target, saved(tmp_path / "w.safetensors", tensors))
    assert all(map(torch.equal, target.state_dict().values(), source.state_dict().values()))
    assert repr(prefix) in report.note
    assert "2 other tensors" in report.note
    plain = load_encoder_weights(tiny(), saved(tmp_path / "p.safetensors", source.state_dict()))
    assert plain.note == ""


def test_two_networks_that_fit_are_refused_by_name(tmp_path):
    tensors = {
        f"module.{which}.{name}": tensor
        for which in ("left", "right")
        for name, tensor in tiny().state_dict().items()
    }
    fault = refused(tiny(), saved(tmp_path / "w.safetensors", tensors))
    assert "'module.left.', 'module.right.'" in fault.what
    assert "`key`" in fault.hint


@pytest.mark.parametrize(
    ("taken", "other"),
    [("encoder_q", "encoder_k"), ("backbone", "momentum_backbone"), ("teacher", "student"),
     ("online", "target"), ("state_dict_ema", "state_dict")],
)  # fmt: skip
def test_of_a_network_and_its_average_that_is_taken_which_its_code_evaluates(
    tmp_path, taken, other
):
    source, target = tiny(), tiny()
    tensors = {f"{taken}.{name}": tensor for name, tensor in source.state_dict().items()}
    tensors |= {f"{other}.{name}": torch.zeros_like(x) for name, x in source.state_dict().items()}
    report = load_encoder_weights(target, saved(tmp_path / "w.safetensors", tensors))
    assert all(map(torch.equal, target.state_dict().values(), source.state_dict().values()))
    assert report.others == (f"{other}.",)
    assert f"'{other}.' would fit as well" in report.note


def test_a_network_that_does_not_fit_is_compared_behind_its_prefix(tmp_path):
    fault = refused(
        tiny(), saved(tmp_path / "w.safetensors", tiny(stem="cifar").state_dict(), "module.")
    )
    assert "the weights under 'module.' do not fit" in fault.what
    assert 'encoder.stem = "cifar"' in fault.hint
