import math

import pytest
import torch
from pydantic import ValidationError
from tiny_energy import SAMPLER, batch, passes, progress, stepped, tiny_encoder
from torch.nn import functional

from sslcli.config.methods.energy import HDGEConfig
from sslcli.config.presets import resolve
from sslcli.errors import ConfigError
from sslcli.losses import energy
from sslcli.methods.hdge import HDGE

REPLAY = {"size": 40, "image_size": 8, "restart": 0.05, "range": [-1.0, 1.0]}


def method(**fields):
    given = {"num_classes": 4, "data_noise": 0.0, "queue_size": 16, "temperature": 0.1}
    given |= {"classifier_weight": 1.0, "contrast_weight": 1.0, **fields}
    encoder = tiny_encoder()
    return HDGE(HDGEConfig(name="hdge", **given), encoder)


def test_without_contrast_it_is_the_classifier():
    hdge, one = method(contrast_weight=0.0), batch()
    expected = functional.cross_entropy(hdge.logits(one.views[0]), one.labels)
    assert hdge(one, progress()).loss.item() == pytest.approx(expected.item(), abs=1e-6)


def test_the_first_step_has_nobody_to_contrast_with():
    assert method()(batch(), progress()).metrics["contrast"] == 0


@pytest.mark.parametrize("score", ["paper", "released"])
def test_contrast_is_with_the_raw_logits_of_earlier_batches(score):
    hdge, one = method(score=score, classifier_weight=0.0), batch()
    first = stepped(hdge, one)
    again = hdge(one, progress())
    expected = energy.hdge(first.carry["logits"], one.labels, first.carry["logits"], 0.1, score)
    assert again.loss.item() == pytest.approx(expected.item(), abs=1e-5)


def test_the_queue_holds_logits_without_gradient():
    hdge = method()
    output = stepped(hdge, batch())
    assert hdge.queue.held == 6
    assert torch.equal(hdge.queue.rows[:6], output.carry["logits"])
    assert not hdge.queue.rows.requires_grad


def test_chance_is_a_guess_of_both_tasks():
    assert method()(batch(), progress()).chance == pytest.approx(math.log(4) + math.log(17))


def test_density_term_adds_jems():
    fields = {"density_weight": 1.0, "sampler": SAMPLER, "replay": REPLAY}
    hdge, one = method(**fields), batch()
    output = hdge(one, progress())
    plain = method()(one, progress())
    difference = hdge.log_density(output.carry["samples"]) - hdge.log_density(one.views[0])
    added = (output.loss - plain.loss).item()
    assert added == pytest.approx(difference.mean().item(), abs=1e-5)
    hdge.after_step(progress(), output.carry)
    assert (hdge.sampling.replay.age > 0).sum() == 6


def test_both_terms_share_one_pass_and_jems_adds_its_samples():
    assert passes(method(), batch()) == 1
    fields = {"density_weight": 1.0, "sampler": SAMPLER, "replay": REPLAY}
    assert passes(method(**fields), batch()) == 1 + SAMPLER["steps"] + 1


def test_density_term_needs_its_sections():
    with pytest.raises(ValidationError, match="density_weight"):
        method(density_weight=1.0)
    with pytest.raises(ValidationError, match="density_weight"):
        method(sampler=SAMPLER, replay=REPLAY)


def test_a_queue_smaller_than_a_step_is_refused():
    with pytest.raises(ConfigError, match="queue_size must be at least"):
        resolve("hdge/digits", None, {"method.queue_size": 8})
