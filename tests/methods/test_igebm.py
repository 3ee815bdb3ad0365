from dataclasses import replace

import pytest
import torch
from tiny_energy import batch, passes, progress, stepped, tiny_encoder

from sslcli.config.architectures import IGEBM as NETWORKS
from sslcli.config.methods.energy import IGEBMConfig
from sslcli.config.presets import resolve
from sslcli.data.batch import Batch
from sslcli.errors import ConfigError
from sslcli.methods.classifier import langevin
from sslcli.methods.igebm import IGEBM, dequantized
from sslcli.nn.energy_resnet import EnergyResNet

SAMPLER = {"steps": 2, "step_size": 10.0, "noise": 0.005, "noise_first": True}
SAMPLER |= {"gradient_clamp": 0.01, "bounds": [0.0, 1.0]}
STILL = {**SAMPLER, "steps": 1, "step_size": 1e-30, "noise": 0.0}  # chains end where they start
REPLAY = {"size": 40, "image_size": 8, "restart": 0.05, "range": [0.0, 1.0]}
CLAMP = {"sigmas": 3.0, "floor": 0.1, "decay": 0.999}


def method(encoder=None, **fields):
    torch.manual_seed(0)
    given = {"num_classes": 4, "energy_penalty": 1.0, "sampler": SAMPLER, "replay": REPLAY}
    config = IGEBMConfig(name="igebm", **{**given, **fields})
    encoder = encoder or EnergyResNet(NETWORKS["igebm-small"], width=8, conv_bias=False)
    return IGEBM(config, encoder)


def images(size=6):
    one = batch(size)
    return Batch([(one.views[0] + 1) / 2], one.rows, one.labels)


def test_the_loss_is_the_energies_difference_and_their_squares():
    igebm, one = method(dequantize=False), images()
    output = igebm(one, progress())
    data = -igebm.log_density(one.views[0], one.labels)
    samples = -igebm.log_density(output.carry["samples"], output.carry["labels"])
    expected = (data - samples).mean() + data.square().mean() + samples.square().mean()
    assert output.loss.item() == pytest.approx(expected.item(), abs=1e-5)


def test_the_networks_output_is_the_energy_and_one_image_a_vector():
    igebm, one = method(), images(1)
    features = igebm.encoder(one.views[0], igebm.affine(one.labels))
    found = igebm.log_density(one.views[0], one.labels)
    assert found.shape == igebm.log_density(one.views[0]).shape == (1,)
    torch.testing.assert_close(found, -igebm.head(features)[:, 0])


def test_a_step_runs_the_network_once_an_update_and_twice_for_the_loss():
    assert passes(method(), images()) == SAMPLER["steps"] + 2


def test_the_papers_sampler_is_far_colder_than_langevin_and_its_kl_term_off():
    config = resolve("igebm/cifar10").config.method
    assert langevin(config.sampler).temperature == pytest.approx(1.25e-6)
    assert config.kl_weight == 0


def test_dequantised_images_stay_in_their_levels_share():
    levels = torch.arange(256.0)
    spread = dequantized((levels / 255).expand(100, -1)) * 256
    assert (spread.floor() == levels).all()
    assert (spread - levels).mean().item() == pytest.approx(0.5, abs=0.01)


def test_images_are_dequantised_unless_told_otherwise():
    losses = []
    for choice in (True, False):
        igebm = method(dequantize=choice)
        torch.manual_seed(1)
        losses.append(igebm(images(), progress()).metrics["data_log_p"])
    assert losses[0] != losses[1]


def test_the_first_chains_start_afresh_and_later_ones_keep_their_label():
    igebm = method(sampler=STILL)
    first = stepped(igebm, images())
    assert torch.equal(first.carry["labels"], images().labels)
    for _ in range(3):
        stepped(igebm, images())
    held, labels = igebm.replay.images.clone(), igebm.replay.labels.clone()
    carry = igebm(images(20), progress()).carry
    found = [(held == end).flatten(1).all(dim=1) for end in carry["samples"]]
    assert sum(bool(rows.any()) for rows in found) > 10  # the others started afresh
    for rows, label in zip(found, carry["labels"], strict=True):
        assert not rows.any() or label in labels[rows]


def test_a_share_of_chains_starts_afresh():
    igebm = method(sampler=STILL, replay={**REPLAY, "size": 1001, "restart": 0.2})
    igebm.replay.images.fill_(0.5)
    igebm.replay.age.fill_(1)
    samples = igebm(images(1000), progress()).carry["samples"]
    is_fresh = (samples - 0.5).abs().flatten(1).amax(dim=1) > 0.1
    assert is_fresh.float().mean().item() == pytest.approx(0.2, abs=0.05)


def test_sampling_gives_weights_no_gradient_and_runs_in_evaluation_mode():
    igebm, modes = method(), []
    igebm.encoder.eval()
    igebm.head.register_forward_hook(lambda module, *_: modes.append(module.training))
    igebm(images(), progress())
    assert all(parameter.grad is None for parameter in igebm.parameters())
    assert modes == [False] * SAMPLER["steps"] + [True] * 2
    assert not igebm.encoder.training


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_share_of_recycled_chains_goes_on_under_the_batchs_classes(share):
    igebm = method(sampler=STILL, relabel=share, replay={**REPLAY, "restart": 0.0})
    igebm.replay.push(torch.rand(30, 3, 8, 8), torch.full((30,), 3))
    classes = torch.arange(20) % 3
    carry = igebm(replace(images(20), labels=classes), progress()).carry
    assert torch.equal(carry["labels"], classes if share else torch.full((20,), 3))
    held = igebm.replay.images
    assert all((held == end).flatten(1).all(dim=1).any() for end in carry["samples"])


def test_logits_are_the_densities_of_the_classes_in_batches_of_the_images():
    igebm, one, sizes = method().eval(), images(), []
    igebm.encoder.register_forward_hook(lambda module, given, _: sizes.append(len(given[0])))
    with torch.no_grad():
        logits = igebm.logits(one.views[0])
        for label in range(logits.shape[1]):
            own = igebm.log_density(one.views[0], torch.full_like(one.labels, label))
            assert torch.equal(logits[:, label], own)
    assert set(sizes) == {len(one.labels)}


def test_samples_stay_in_bounds():
    samples = method()(images(), progress()).carry["samples"]
    assert samples.min() >= 0
    assert samples.max() <= 1


def test_spectral_norms_advance_once_a_step():
    igebm = method()
    before = igebm.encoder.conv1.left.clone()
    output = igebm(images(), progress())
    assert torch.equal(igebm.encoder.conv1.left, before)
    igebm.after_step(progress(), output.carry)
    assert not torch.equal(igebm.encoder.conv1.left, before)


def test_gradients_are_clamped_before_the_step():
    igebm = method(gradient_clamp=CLAMP)
    output = igebm(images(), progress())
    (1e6 * output.loss).backward()
    igebm.before_step(progress())
    largest = max(p.grad.abs().max() for p in igebm.parameters() if p.grad is not None)
    assert largest <= 0.1 + 1e-6


def test_without_classes_any_network_and_no_labels_will_do():
    igebm = method(tiny_encoder(), num_classes=None)
    unlabelled = Batch(images().views, torch.arange(6))
    assert stepped(igebm, unlabelled).loss.isfinite()


def test_classes_need_a_network_that_has_them():
    with pytest.raises(ConfigError, match="gain"):
        method(tiny_encoder())


def test_the_likeliest_class_stands_for_an_image_without_label():
    igebm, one = method(), images(2)
    with torch.no_grad():
        for table in igebm.affine.tables:
            table.add_(torch.randn_like(table))
        classes = [igebm.log_density(one.views[0], torch.full((2,), c)) for c in range(4)]
        torch.testing.assert_close(igebm.logits(one.views[0]), torch.stack(classes, dim=1))
        best = igebm.log_density(one.views[0])
    torch.testing.assert_close(best, torch.stack(classes, dim=1).amax(dim=1))


def test_the_kl_term_reaches_weights_through_the_chain_alone():
    igebm, one = method(energy_penalty=0.0, kl_weight=1.0, dequantize=False), images()
    torch.manual_seed(1)
    kl = igebm(one, progress())
    igebm.config = igebm.config.model_copy(update={"kl_weight": 0.0})
    torch.manual_seed(1)
    plain = igebm(one, progress())
    added = kl.loss - plain.loss
    energy = -igebm.log_density(kl.carry["samples"], kl.carry["labels"]).mean()
    assert added.item() == pytest.approx(energy.item(), abs=1e-5)
    added.backward()
    assert igebm.head.weight.grad.abs().sum() > 0
    assert igebm.head.bias.grad is None or igebm.head.bias.grad.abs().max() < 1e-6


def test_a_step_in_parts_with_more_images_than_the_buffer_is_refused():
    with pytest.raises(ConfigError, match="48 chains a step"):
        method()(images(), replace(progress(), parts=8))
