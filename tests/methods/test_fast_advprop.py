"""Fast AdvProp against three backward passes, one by one, as the authors' code makes them."""

import copy
from dataclasses import replace

import pytest
import torch
from tiny_instance import PROGRESS, batch, tiny_encoder
from torch.nn import functional

from sslcli.config.methods.adversarial import FastAdvPropConfig
from sslcli.config.presets import resolve
from sslcli.errors import ConfigError
from sslcli.methods.fast_advprop import FastAdvProp

RADIUS, STEP = 6 / 255, 4 / 255


def make():
    config = FastAdvPropConfig(
        name="fast-advprop", num_classes=4, radius=6, step_size=4, clean_per_attacked=4,
        attack_weight=0.5, adversarial_weight=0.3,
    )  # fmt: skip
    return FastAdvProp(config, tiny_encoder()).double().train()


def labelled(size=20):
    one = batch(size)
    images = 0.5 + 0.1 * one.views[0].double()
    return replace(one, views=[images.clamp(0.1, 0.9)], labels=torch.arange(size) % 4)


def test_gradients_are_those_of_three_passes_divided_by_the_weight_of_their_images(monkeypatch):
    method, one = make(), labelled()
    noise = RADIUS * (2 * torch.rand(4, 3, 4, 4).double() - 1)
    monkeypatch.setattr("sslcli.methods.fast_advprop.uniform_start", lambda x, radius: x + noise)
    main = torch.nn.Sequential(copy.deepcopy(method.encoder), copy.deepcopy(method.classifier))
    other = copy.deepcopy(main)
    method(one, PROGRESS).loss.backward()
    method.before_step(PROGRESS)

    def summed(network, images, labels):
        return functional.cross_entropy(network(images), labels, reduction="sum")

    (images,), labels = one.views, one.labels
    summed(main, images[:16], labels[:16]).backward()
    noisy = (images[16:] + noise).requires_grad_()
    (0.5 * summed(other, noisy, labels[16:])).backward()
    moved = noisy.detach() + STEP * noisy.grad.sign()
    moved = torch.minimum(torch.maximum(moved, images[16:] - RADIUS), images[16:] + RADIUS)
    (0.3 * summed(other, moved.clamp(0, 1), labels[16:])).backward()
    weight = 16 + 0.5 * 4 + 0.3 * 4
    for name, parameter in method.encoder.named_parameters():
        theirs = [network[0].get_parameter(name).grad for network in (main, other)]
        expected = theirs[0] / 16 if name.startswith("1.") else sum(theirs) / weight
        torch.testing.assert_close(parameter.grad, expected, msg=name)
    classifier = (main[1].weight.grad + other[1].weight.grad) / weight
    torch.testing.assert_close(method.classifier.weight.grad, classifier)
    branch = method.auxiliary.branches[0][0]
    torch.testing.assert_close(branch.bias.grad, other[0][1].bias.grad / (0.8 * 4))
    torch.testing.assert_close(branch.running_var, other[0][1].running_var)
    torch.testing.assert_close(method.encoder[1].running_mean, main[0][1].running_mean)


def test_the_loss_is_the_weighted_mean_of_the_three():
    method, one = make(), labelled()
    losses = []
    original = functional.cross_entropy

    def kept(logits, labels, reduction="mean"):
        found = original(logits, labels, reduction=reduction)
        losses.append(float(found.detach()) / (4 if reduction == "sum" else 1))
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("torch.nn.functional.cross_entropy", kept)
        loss = method(one, PROGRESS).loss.item()
    clean, attack, adversarial = losses
    assert loss == pytest.approx((4 * clean + 0.5 * attack + 0.3 * adversarial) / 4.8)


def test_a_batch_that_does_not_divide_is_refused():
    with pytest.raises(ConfigError, match=r"divisible by 4, method\.clean_per_attacked \+ 1"):
        resolve("fast-advprop/digits", None, {"train.batch_size": 126})
    with pytest.raises(ConfigError, match="none to attack"):
        make()(labelled(4), PROGRESS)
