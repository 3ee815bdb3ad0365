"""CLAE against its steps done one by one on plain networks, in each of its three settings."""

import copy

import pytest
import torch
from tiny_instance import PROGRESS, batch, stepped, tiny_encoder

from sslcli import assemble
from sslcli.config.methods.adversarial import CLAEConfig
from sslcli.config.presets import resolve
from sslcli.errors import ConfigError
from sslcli.losses.contrastive import batch_info_nce, invariant_spread, nt_xent
from sslcli.methods.clae import CLAE

LOSSES = {"nt-xent": nt_xent, "info-nce": batch_info_nce, "invariant-spread": invariant_spread}
BOX = ((-2.0, -2.5, -3.0), (2.0, 2.5, 3.0))


def make(criterion="nt-xent", **fields):
    numbers = {"hidden": 7, "dim": 5, "temperature": 0.3, "alpha": 0.7, "radius": 0.1}
    config = CLAEConfig(
        name="clae", criterion=criterion, norm_momentum=0.01, box=BOX, **numbers | fields
    )
    return CLAE(config, tiny_encoder()).double().train()


def doubled(one):
    one.views[:] = [view.double() for view in one.views]
    return one


def plain(method):
    """Return copies of encoder and head for clean and for adversarial images."""
    networks = [
        torch.nn.Sequential(copy.deepcopy(method.encoder), copy.deepcopy(method.projector))
        for _ in range(2)
    ]
    networks[1][0][1].momentum = 0.01
    return networks


@pytest.mark.parametrize("criterion", LOSSES)
def test_a_step_is_that_of_the_code(criterion):
    method, one = make(criterion), doubled(batch())
    (main, other), (first, second) = plain(method), one.views
    output = method(one, PROGRESS)
    constant, leaf = other(first).detach(), first.clone().requires_grad_()
    loss = LOSSES[criterion](constant, other(leaf), 0.3)
    (slope,) = torch.autograd.grad(loss, leaf)
    lowest, highest = (torch.tensor(end).view(3, 1, 1).double() for end in BOX)
    attacked = torch.minimum(torch.maximum(first + 0.1 * slope.sign(), lowest), highest)
    clean, partner, adversarial = main(first), main(second), other(attacked)
    expected = LOSSES[criterion](clean, partner, 0.3)
    expected = expected + 0.7 * LOSSES[criterion](clean, adversarial, 0.3)
    assert output.loss.item() == pytest.approx(expected.item(), abs=1e-12)
    output.loss.backward()
    expected.backward()
    for name, parameter in method.encoder.named_parameters():
        theirs = [network[0].get_parameter(name).grad for network in (main, other)]
        own = theirs[0] if name.startswith("1.") else sum(theirs)  # the BatchNorm is not shared
        torch.testing.assert_close(parameter.grad, own, msg=name)
    branch = method.auxiliary.branches[0][0]
    torch.testing.assert_close(branch.weight.grad, other[0][1].weight.grad)
    torch.testing.assert_close(branch.running_mean, other[0][1].running_mean)
    torch.testing.assert_close(method.encoder[1].running_var, main[0][1].running_var)
    assert int(branch.num_batches_tracked) == 3


def test_every_value_moves_by_the_radius_as_far_as_there_is_room():
    method, images = make(), doubled(batch()).views[0].clamp(-1.5, 1.5)
    images[0] = torch.tensor(BOX[1]).view(3, 1, 1)
    change = method.attacked(images) - images
    assert (change[1:].abs() - 0.1).abs().max() < 1e-12
    assert change[0].max() <= 0


def test_the_attack_leaves_no_gradient_and_main_statistics_alone():
    method, one = make(), doubled(batch())
    before = copy.deepcopy(method.encoder.state_dict())
    method.attacked(one.views[0])
    assert all(parameter.grad is None for parameter in method.parameters())
    assert all(torch.equal(x, before[name]) for name, x in method.encoder.state_dict().items())


def test_without_the_adversarial_term_the_gradient_is_that_of_simclr():
    method, one = make(alpha=0.0), doubled(batch())
    main, _ = plain(method)
    method(one, PROGRESS).loss.backward()
    nt_xent(*(main(view) for view in one.views), 0.3).backward()
    for parameter, theirs in zip(method.encoder.parameters(), main[0].parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, theirs.grad)
    assert all(not x.grad.any() for x in method.auxiliary.parameters())


def test_the_images_themselves_pull_with_no_force_where_the_attack_begins():
    method, images = make(), doubled(batch()).views[0]
    leaf = images.clone().requires_grad_()
    with method.auxiliary.on(method.encoder):
        cosines = torch.cosine_similarity(method.embed(images).detach(), method.embed(leaf))
    (own,) = torch.autograd.grad(cosines.sum(), leaf)
    assert own.abs().max() < 1e-14


def test_random_signs_change_as_much_and_ask_no_network():
    method, images = make(direction="random"), doubled(batch()).views[0].clamp(-1.5, 1.5)
    change = method.attacked(images) - images
    assert (change.abs() - 0.1).abs().max() < 1e-12
    assert 0.3 < (change > 0).double().mean() < 0.7
    assert int(method.auxiliary.branches[0][0].num_batches_tracked) == 0


def test_steps_move_the_auxiliary_branch_and_the_encoder_stays_a_plain_one():
    method = make()
    before = copy.deepcopy(method.auxiliary.state_dict())
    for number in range(2):
        stepped(method, doubled(batch(seed=number)))
    assert not torch.equal(method.auxiliary.branches[0][0].weight, before["branches.0.0.weight"])
    tiny_encoder().load_state_dict(method.encoder.state_dict(), strict=True)


def test_an_encoder_without_batch_norm_is_refused():
    fields = {"encoder.name": "vit-1-16-2", "encoder.width": None, "encoder.patch_size": 4}
    config = resolve("clae/digits", None, fields).config
    with pytest.raises(ConfigError, match="has no BatchNorm") as caught:
        assemble.build_method(config)
    assert caught.value.where == "encoder.name"


@pytest.mark.parametrize("radius", [1e-4, 3.0])
def test_a_radius_of_another_unit_is_refused(radius):
    config = resolve("clae/digits", None, {"method.radius": radius}).config
    with pytest.raises(ConfigError, match="of the range of pixels") as caught:
        assemble.completed_section(config)
    assert caught.value.where == "method.radius"
    assert "between 0.0027 and 2.7" in caught.value.hint


def test_other_colours_than_rgb_are_refused():
    data = {"data.space": "lab", "data.mean": [50.0, 0.0, 0.0], "data.std": [50.0, 90.0, 90.0]}
    config = resolve("clae/digits", None, data).config
    with pytest.raises(ConfigError, match="the encoder sees lab") as caught:
        assemble.completed_section(config)
    assert caught.value.where == "data.space"


def test_the_radius_is_told_in_levels_of_each_channel():
    section = assemble.completed_section(resolve("clae/cifar10-plain").config)
    assert "1.55, 1.53, 1.54 levels of 255 in red, green, blue" in section.remarks()[0]
    alike = assemble.completed_section(resolve("clae/cifar10").config)
    assert "3.82 levels of 255 in each channel" in alike.remarks()[0]
