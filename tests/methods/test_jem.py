from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError
from tiny_energy import SAMPLER, batch, passes, progress, stepped, tiny_encoder

from sslcli.config.methods.energy import JEMConfig
from sslcli.config.presets import resolve
from sslcli.engine.accumulation import joined
from sslcli.errors import ConfigError
from sslcli.methods.classifier import langevin
from sslcli.methods.jem import JEM

REPLAY = {"size": 40, "image_size": 8, "restart": 0.05, "range": [-1.0, 1.0]}


def method(seed=0, **fields):
    torch.manual_seed(seed)
    given = {"num_classes": 4, "data_noise": 0.0, "sampler": SAMPLER, "replay": REPLAY}
    given |= {"weights": {"marginal": 1.0, "classifier": 1.0}, **fields}
    return JEM(JEMConfig(name="jem", **given), tiny_encoder())


def test_classifier_alone_is_cross_entropy():
    jem, one = method(weights={"marginal": 0.0, "classifier": 1.0}), batch()
    expected = torch.nn.functional.cross_entropy(jem.logits(one.views[0]), one.labels)
    assert jem(one, progress()).loss.item() == pytest.approx(expected.item(), abs=1e-6)


def test_marginal_alone_is_the_difference_of_log_densities():
    jem, one = method(weights={"marginal": 1.0, "classifier": 0.0}), batch()
    output = jem(one, progress())
    samples = jem.log_density(output.carry["samples"]).mean()
    expected = samples - jem.log_density(one.views[1]).mean()
    assert output.loss.item() == pytest.approx(expected.item(), abs=1e-5)
    assert output.metrics["log_p_gap"].item() == pytest.approx(-expected.item(), abs=1e-5)


def test_joint_alone_follows_the_asked_class():
    weights = {"marginal": 0.0, "classifier": 0.0, "joint": 1.0}
    jem, one = method(weights=weights, target="class"), batch()
    output = jem(one, progress())
    samples = jem.log_density(output.carry["samples"], output.carry["labels"]).mean()
    expected = samples - jem.log_density(one.views[1], one.labels).mean()
    assert output.loss.item() == pytest.approx(expected.item(), abs=1e-5)


def test_joint_needs_samples_of_a_class():
    with pytest.raises(ValidationError, match="target"):
        method(weights={"marginal": 0.0, "classifier": 0.0, "joint": 1.0})


def test_a_divided_buffer_keeps_each_class_in_its_block():
    jem = method(target="class")
    carry = stepped(jem, batch()).carry
    assert torch.equal(carry["rows"] // 10, carry["labels"])
    rows = jem.sampling.replay.age.nonzero().squeeze(1)
    assert torch.equal(jem.sampling.replay.labels[rows], rows // 10)
    assert len(rows) == 6


def test_forward_writes_nothing_and_after_step_writes_the_samples():
    jem, one = method(), batch()
    output = jem(one, progress())
    assert (jem.sampling.replay.age == 0).all()
    jem.after_step(progress(), output.carry)
    held = jem.sampling.replay.images[output.carry["rows"]]
    assert torch.equal(held, output.carry["samples"])


def test_a_share_of_chains_starts_afresh():
    jem = method(replay={**REPLAY, "size": 4000, "restart": 0.05})
    replay = jem.sampling.replay
    replay.age.fill_(1)
    one, fresh = batch(200), []
    for _ in range(20):
        fresh.append(jem.sampling.draw(jem, one.views[1], one.labels, progress()).carry["is_fresh"])
    assert torch.cat(fresh).float().mean().item() == pytest.approx(0.05, abs=0.012)


def test_a_step_in_parts_writes_each_row_once():
    jem, one = method(replay={**REPLAY, "size": 12}), batch()
    outputs = [jem(one, replace(progress(), part=part, parts=2)) for part in range(2)]
    jem.after_step(progress(), joined(outputs, [1.0, 1.0]).carry)
    assert (jem.sampling.replay.age == 1).all()


def test_class_gaussian_starts_look_like_their_class():
    jem = method(replay={**REPLAY, "start": "class-gaussian", "class_images": 8})
    images = torch.arange(4.0).repeat_interleave(8)[:, None, None, None].expand(-1, 3, 8, 8)
    jem.sampling.class_images.push(images, torch.arange(4).repeat_interleave(8))
    starts = jem.sampling.fresh(torch.tensor([3, 0]))
    torch.testing.assert_close(
        starts.mean(dim=(1, 2, 3)), torch.tensor([3.0, 0.0]), atol=0.05, rtol=0
    )


def test_sampling_gives_weights_no_gradient_and_keeps_the_mode():
    jem, one = method(), batch()
    jem.encoder.eval()
    jem.sampling.draw(jem, one.views[1], one.labels, progress())
    assert all(parameter.grad is None for parameter in jem.parameters())
    assert jem.classifier.training
    assert not jem.encoder.training


def test_a_step_runs_the_network_once_an_update_and_three_times_for_the_loss():
    assert passes(method(), batch()) == SAMPLER["steps"] + 3


def test_the_papers_sampler_clips_nothing_and_is_far_colder_than_langevin():
    sampler = langevin(resolve("jem/cifar10").config.method.sampler)
    assert (sampler.gradient_clamp, sampler.bounds, sampler.noise_first) == (None, None, False)
    assert sampler.temperature == pytest.approx(5e-5)


def test_samples_get_no_gradient_of_the_loss():
    output = method()(batch(), progress())
    assert not any(value.requires_grad for value in output.carry.values())


def test_the_penalty_adds_mean_squares():
    plain, taxed, one = method(), method(energy_penalty=0.5), batch()
    torch.manual_seed(1)
    first = plain(one, progress())
    torch.manual_seed(1)
    second = taxed(one, progress())
    data = plain.log_density(one.views[1]).square().mean()
    samples = plain.log_density(first.carry["samples"]).square().mean()
    added = second.loss - first.loss
    assert added.item() == pytest.approx(0.5 * (data + samples).item(), rel=1e-4)


def test_too_small_a_buffer_and_other_sizes_are_refused():
    with pytest.raises(ConfigError, match="rows"):
        method(replay={**REPLAY, "size": 4})(batch(), progress())
    with pytest.raises(ConfigError, match="12 chains"):
        method(replay={**REPLAY, "size": 8})(batch(), replace(progress(), parts=2))
    with pytest.raises(ConfigError, match="wide"):
        method(replay={**REPLAY, "image_size": 16})(batch(), progress())
    with pytest.raises(ValidationError, match="divisible"):
        method(target="class", replay={**REPLAY, "size": 42})


def test_data_without_labels_is_refused():
    with pytest.raises(ValueError, match="no labels"):
        method()(batch(labelled=False), progress())
