"""The choice among classifiers of several rates."""

import numpy as np
import pytest
import torch
from torch import nn

from sslcli.config.presets import resolve
from sslcli.data.sources.base import ArraySource
from sslcli.engine.checkpoint import save_checkpoint
from sslcli.errors import UsageError
from sslcli.workflows.linear_eval import check_rates
from sslcli.workflows.rates import Rate, best, hold_out, judged


def test_a_tenth_of_each_class_is_held_out_and_the_rest_is_learned():
    labels = np.repeat([0, 1, 2], [40, 20, 10])
    pixels = np.arange(70, dtype=np.uint8).reshape(70, 1, 1, 1).repeat(3, axis=1)
    kept, held = hold_out(ArraySource("numbers", pixels, labels, ("a", "b", "c")), seed=1)
    assert np.bincount(held.labels).tolist() == [4, 2, 1]
    seen = [part.load(row).flat[0] for part in (kept, held) for row in range(len(part))]
    assert sorted(seen) == list(range(70))


def test_the_best_on_held_out_images_is_taken_whatever_the_test_part_says():
    rates = [Rate(0.1, 0.7, 1.0, 0.99), Rate(1.0, 0.8, 0.9, 0.5), Rate(3.0, 0.8, 0.5, 0.4)]
    assert best(rates) == 2  # of equal accuracies the lower cross-entropy


def test_a_classifier_is_judged_on_both_parts():
    identity = nn.Identity()
    logits = torch.tensor([[2.0, 0.0], [0.0, 2.0]])
    found = judged(0.3, identity, (logits, torch.tensor([0, 1])), (logits, torch.tensor([1, 1])))
    assert (found.rate, found.held_out, found.top1) == (0.3, 1.0, 0.5)
    assert found.nats == pytest.approx(np.log(1 + np.exp(-2)))


def test_rates_are_refused_where_the_checkpoint_has_no_recipe_for_them(tmp_path):
    config = resolve("dino/digits-vit").config
    save_checkpoint(tmp_path / "checkpoint.safetensors", {"x": torch.zeros(1)}, config, {"step": 0})
    check_rates(tmp_path, ())
    check_rates(tmp_path, [0.1], "resnet18", None)  # a file of weights alone
    with pytest.raises(UsageError, match="no recipe"):
        check_rates(tmp_path, [0.1, 1.0], None, None)
