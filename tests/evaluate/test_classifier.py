import numpy as np
import pytest
import torch
from torch import nn

from sslcli.config.presets import resolve
from sslcli.engine.checkpoint import load_checkpoint, save_checkpoint
from sslcli.errors import CheckpointError, UsageError
from sslcli.evaluate.calibration.stored import stored_calibrator
from sslcli.evaluate.classifier import logits_of, match_classes, need_classifier


def saved(folder, tensors, **facts):
    path = folder / "checkpoint.safetensors"
    save_checkpoint(path, tensors, resolve("simsiam/digits").config, facts)
    return load_checkpoint(path)


def test_the_classifier_comes_back_with_its_weights(tmp_path):
    layer = nn.Linear(7, 3)
    tensors = {f"classifier.{name}": each for name, each in layer.state_dict().items()}
    found = need_classifier(saved(tmp_path, tensors))
    features = torch.randn(5, 7)
    logits = logits_of(found, features)
    assert logits.dtype == torch.float64
    assert torch.allclose(logits.float(), layer(features), atol=1e-6)


def test_an_encoder_alone_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(UsageError, match="no linear classifier") as caught:
        need_classifier(saved(tmp_path, {"encoder.weight": torch.zeros(2)}))
    assert "`finetune()`" in caught.value.hint


def test_labels_are_matched_by_class_name():
    labels = np.array([0, 1, 1, 2])
    matched = match_classes(labels, ("cat", "ant", "bee"), ("ant", "bee", "cat", "dog"))
    assert matched.tolist() == [2, 0, 0, 1]
    unused = match_classes(labels[:1], ("cat", "yak"), ("ant", "bee", "cat"))
    assert unused.tolist() == [2]


def test_images_of_a_strange_class_are_counted_and_refused():
    with pytest.raises(UsageError, match="2 images are of classes") as caught:
        match_classes(np.array([0, 1, 1]), ("ant", "yak"), ("ant", "bee"))
    assert "yak" in caught.value.hint


@pytest.mark.parametrize("calibrator", [{"method": "temperature", "temperature": -1}, 3, None])
def test_a_stored_calibrator_that_was_altered_is_told(tmp_path, calibrator):
    altered = saved(tmp_path, {"a": torch.zeros(1)}, calibrator={"calibrator": calibrator})
    with pytest.raises(CheckpointError, match="stored calibrator cannot be read"):
        stored_calibrator(altered)


def test_a_checkpoint_without_a_calibrator_says_so(tmp_path):
    assert stored_calibrator(saved(tmp_path, {"a": torch.zeros(1)})) is None
