"""What is put together from a config, and what is refused."""

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from sslcli import assemble
from sslcli.config.methods.labelled import LinearProbeConfig
from sslcli.config.presets import resolve
from sslcli.data.sources.base import ArraySource
from sslcli.errors import ConfigError
from sslcli.methods.supervised import LinearProbe


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """A folder of 40 images in two classes, without a test part."""
    monkeypatch.setenv("SSL_CACHE", str(tmp_path / "cache"))
    for index in range(40):
        folder = tmp_path / "photos" / ("cats" if index % 2 else "dogs")
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (6 * index, 90, 50)).save(folder / f"{index}.png")
    return str(tmp_path / "photos")


def config(preset, source, **more):
    return resolve(preset, None, {"data.source": source, **more}).config


def test_a_method_that_learns_labels_keeps_off_what_evaluations_hold_out(photos):
    fields = {"method.num_classes": 2}
    learning = config("supervised/digits", photos, **fields)
    splits = assemble.open_training(learning)
    held = assemble.open_data(learning).test
    assert len(splits.train) + len(held) == 40
    assert not set(np.asarray(splits.train.rows)) & set(np.asarray(held.rows))
    assert len(assemble.open_training(config("simsiam/digits", photos)).train) == 40


@pytest.mark.parametrize(
    ("preset", "has_labels"), [("amdim/digits", True), ("simclr/digits", False)]
)
def test_a_method_that_watches_labels_gets_them_with_all_of_the_data(photos, preset, has_labels):
    wanted = config(preset, photos, **{"train.batch_size": 8})
    source = assemble.open_training(wanted).train
    method = assemble.build_method(wanted, facts=assemble.facts_of(source))
    training = assemble.build_training(wanted, method, source, torch.device("cpu"), "fp32")
    batch = next(training.loader.epoch(0))
    assert len(source) == 40
    assert (batch.labels is not None) == has_labels
    online = {name for name, _ in method.named_parameters() if name.startswith("online")}
    assert bool(online) == has_labels
    assert ("online_mlp_top1" in method(batch, training.progress).metrics) == has_labels


def test_classes_that_are_not_the_data_s_are_refused(photos):
    wrong = config("supervised/digits", photos)
    method, source = assemble.build_method(wrong), assemble.open_training(wrong).train
    with pytest.raises(ConfigError, match=r"10 classes, and .* has 2") as caught:
        assemble.build_training(wrong, method, source, torch.device("cpu"), "fp32")
    assert caught.value.where == "method.num_classes"


def test_a_target_starts_from_the_weights_that_the_config_names(tmp_path):
    fields = {"encoder.weights": str(tmp_path / "start.safetensors")}
    config = resolve("moco-v2/digits", None, fields).config
    other = assemble.build_method(resolve("moco-v2/digits", None, {"seed": 1}).config).encoder
    weights = {name: value.contiguous() for name, value in other.state_dict().items()}
    save_file(weights, tmp_path / "start.safetensors")
    method = assemble.build_method(config, load_start=True)
    wanted = next(other.parameters())
    assert torch.equal(next(method.encoder.parameters()), wanted)
    assert torch.equal(next(method.target.parameters()), wanted)


def test_training_begins_in_the_modes_that_the_method_itself_chooses(photos):
    fields = {"method.num_classes": 2, "train.batch_size": 8}
    wanted = config("supervised/digits", photos, **fields)
    probe = LinearProbe(
        LinearProbeConfig(name="linear-probe", num_classes=2),
        assemble.build_method(wanted).encoder,
    )
    source = assemble.open_training(wanted).train
    built = assemble.build_training(wanted, probe.eval(), source, torch.device("cpu"), "fp32")
    assert built.method.classifier.training
    assert not any(module.training for module in built.method.encoder.modules())


GREY = np.repeat(np.arange(48 * 64, dtype=np.uint8).reshape(48, 1, 8, 8), 3, axis=1)
COLOURED = GREY * np.array([1, 2, 3], dtype=np.uint8)[:, None, None]
LAB = {"data.space": "lab", "data.mean": (50.0, 6.0, -7.0), "data.std": (50.0, 92.0, 101.0)}


@pytest.mark.parametrize(
    ("split", "fields", "why"),
    [
        (((0,), (1, 2)), LAB, r"part \[1, 2\] .* is the same everywhere in lab"),
        (((0,), (1, 2)), {}, r"parts \[0\] and \[1, 2\] .* show the same"),
        (((0,), ("dx", "dy")), {}, ""),
    ],
)
def test_grey_images_are_refused_where_parts_of_the_channels_would_show_nothing(split, fields, why):
    fields = {"train.batch_size": 8, "encoder.split": split, **fields}
    wanted = resolve("cmc/digits", None, fields).config
    coloured, grey = ArraySource("hues", COLOURED), ArraySource("greys", GREY)
    assemble.plan_training(wanted, coloured, torch.device("cpu"), "fp32")
    if not why:
        assemble.plan_training(wanted, grey, torch.device("cpu"), "fp32")
        return
    with pytest.raises(ConfigError, match=why) as caught:
        assemble.plan_training(wanted, grey, torch.device("cpu"), "fp32")
    assert 'encoder.split=[[0], ["dx", "dy"]]' in caught.value.hint
