"""AdvProp against its steps done one by one on plain networks, and its ablations."""

import copy
from dataclasses import replace

import pytest
import torch
from tiny_instance import PROGRESS, batch, tiny_encoder
from torch.nn import functional

from sslcli import assemble
from sslcli.config.methods.adversarial import AdvPropConfig
from sslcli.config.presets import resolve
from sslcli.config.section import DataFacts
from sslcli.errors import ConfigError
from sslcli.methods.advprop import AdvProp, other_classes

BOX = ((-2.0, -2.5, -3.0), (2.0, 2.5, 3.0))
LEVEL = torch.tensor([4.0, 5.0, 6.0]).view(3, 1, 1).double() / 255
PGD = {"radius": 4.0, "step_size": 1.0, "steps": 5, "targeted": False, "noise": 0.0}


def make(attack=(), **fields):
    numbers = {"num_classes": 4, "reduction": "sum", "box": BOX, **fields}
    config = AdvPropConfig(name="advprop", attack=PGD | dict(attack), **numbers)
    return AdvProp(config, tiny_encoder()).double().train()


def labelled(views=2, size=8):
    one = batch(size)
    shown = [one.views[number % 2].double() + number // 2 for number in range(views)]
    return replace(one, views=shown, labels=torch.arange(size) % 4)


def plain(method):
    networks = torch.nn.Sequential(method.encoder, method.classifier)
    return copy.deepcopy(networks), copy.deepcopy(networks)


def attacked(network, images, aims, sign):
    """Five steps of a level in a ball of four, one by one (AP, attacker.py)."""
    lowest, highest = (torch.tensor(end).view(3, 1, 1).double() for end in BOX)
    x = images.clone()
    for _ in range(5):
        leaf = x.clone().requires_grad_()
        (slope,) = torch.autograd.grad(functional.cross_entropy(network(leaf), aims), leaf)
        x = x + sign * LEVEL * slope.sign()
        x = torch.minimum(torch.maximum(x, images - 4 * LEVEL), images + 4 * LEVEL)
        x = torch.minimum(torch.maximum(x, lowest), highest)
    return x


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("targeted", [False, True])
def test_a_step_is_that_of_the_code(mode, targeted, monkeypatch):
    method, one = make({"targeted": targeted, "mode": mode}), labelled(1)
    main, other = plain(method)
    aims = (one.labels + 2) % 4 if targeted else one.labels
    monkeypatch.setattr("sslcli.methods.advprop.other_classes", lambda labels, _: (labels + 2) % 4)
    output = method(one, PROGRESS)
    other.train(mode == "train")
    moved = attacked(other, one.views[0], aims, -1 if targeted else 1)
    other.train()
    expected = functional.cross_entropy(main(one.views[0]), one.labels)
    expected = expected + functional.cross_entropy(other(moved), one.labels)
    assert output.loss.item() == pytest.approx(expected.item(), abs=1e-12)
    output.loss.backward()
    expected.backward()
    shared = [network[0][0].weight.grad for network in (main, other)]
    torch.testing.assert_close(method.encoder[0].weight.grad, sum(shared))
    torch.testing.assert_close(method.encoder[1].weight.grad, main[0][1].weight.grad)
    branch = method.auxiliary.branches[0][0]
    torch.testing.assert_close(branch.weight.grad, other[0][1].weight.grad)
    torch.testing.assert_close(branch.running_mean, other[0][1].running_mean)
    assert int(branch.num_batches_tracked) == (6 if mode == "train" else 1)
    assert method.training
    assert method.encoder[1].training


def test_half_of_the_sum_is_the_mean():
    total, half = (make(reduction=name)(labelled(1), PROGRESS) for name in ("sum", "mean"))
    assert total.loss.item() == pytest.approx(2 * half.loss.item())
    assert total.chance == pytest.approx(2 * half.chance)


def test_testing_uses_the_main_norm():
    method, one = make(), labelled(1)
    method(one, PROGRESS)
    expected = torch.nn.Sequential(tiny_encoder(), copy.deepcopy(method.classifier)).double()
    expected[0].load_state_dict(method.encoder.state_dict(), strict=True)
    assert torch.equal(method.eval().logits(one.views[0]), expected.eval()(one.views[0]))


def test_shared_norms_see_all_images_as_one_batch():
    method, one = make(norms="shared"), labelled(1)
    network, _ = plain(method)
    images = torch.cat([one.views[0], method.attacked(one.views[0], one.labels)])
    logits = network(images)
    output = method(one, PROGRESS)
    expected = 2 * functional.cross_entropy(logits, one.labels.repeat(2))
    assert output.loss.item() == pytest.approx(expected.item(), abs=1e-12)
    assert not any("auxiliary" in name for name in method.state_dict())


def test_each_further_view_has_a_norm_of_its_own():
    method, one = make(further_views=2), labelled(3)
    networks = plain(method)
    output = method(one, PROGRESS)
    expected = make()(labelled(1), PROGRESS).loss
    for network, view in zip(networks, one.views[1:], strict=True):
        expected = expected + functional.cross_entropy(network(view), one.labels)
    assert output.loss.item() == pytest.approx(expected.item(), abs=1e-12)
    for branch, network in zip(list(method.auxiliary.branches)[1:], networks, strict=True):
        torch.testing.assert_close(branch[0].running_mean, network[0][1].running_mean)


def test_views_of_the_config_decide_the_number_of_norms():
    config = resolve("advprop/digits").config
    (view,) = config.views
    two = config.model_copy(update={"views": (view, view)})
    assert assemble.completed_section(config).further_views == 0
    assert assemble.completed_section(two).further_views == 1
    with torch.device("meta"):
        assert len(assemble.build_method(two, "meta").auxiliary.branches) == 2


def test_targets_are_all_classes_but_the_own():
    labels = torch.arange(4).repeat(200)
    targets = other_classes(labels, 4)
    assert not (targets == labels).any()
    assert set(targets[labels == 1].tolist()) == {0, 2, 3}
    assert other_classes(torch.tensor([0, 1]), 2).tolist() == [1, 0]


def test_noise_starts_within_the_radius_as_often_as_it_is_asked_for():
    torch.manual_seed(0)
    method, images = make({"noise": 0.42}), labelled(1).views[0]
    starts = [method._start(images) - images for _ in range(200)]
    assert 0.3 < sum(bool(start.any()) for start in starts) / 200 < 0.55
    far = max((start.abs() / LEVEL).max().item() for start in starts)
    assert 3.9 < far <= 4 + 1e-9


def test_the_attack_leaves_no_gradient_on_the_weights():
    method, one = make(), labelled(1)
    method.attacked(one.views[0], one.labels)
    assert all(parameter.grad is None for parameter in method.parameters())


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"method.attack.radius": 0.1}, "method.attack.radius"),
        ({"method.attack.radius": 300}, "method.attack.radius"),
        ({"method.attack.step_size": 1.0}, "method.attack"),
        ({"method.num_classes": 1}, "method.num_classes"),
    ],
)
def test_wrong_numbers_are_refused_by_their_field(fields, field):
    with pytest.raises(ConfigError) as caught:
        resolve("advprop/digits", None, fields)
    assert field in str(caught.value)


@pytest.mark.parametrize(
    ("classes", "field"), [((), "data.source"), (("one",), "method.num_classes")]
)
def test_data_without_two_classes_is_refused(classes, field):
    config = resolve("advprop/digits").config
    with pytest.raises(ConfigError) as caught:
        assemble.completed_section(config, DataFacts("photos", 9, classes))
    assert caught.value.where == field


def test_an_encoder_without_batch_norm_is_refused_unless_norms_are_shared():
    fields = {"encoder.name": "wrn-10-1", "encoder.norm": "none", "encoder.width": None}
    config = resolve("advprop/digits", None, fields).config
    with pytest.raises(ConfigError, match="has no BatchNorm") as caught:
        assemble.build_method(config)
    assert caught.value.where == "encoder.name"
    shared = resolve("advprop/digits", None, fields | {"method.norms": "shared"}).config
    assert assemble.build_method(shared).auxiliary is None
