import pytest
import torch
from torch import nn
from torch.nn import functional

from sslcli.config.pixels import FITTING
from sslcli.data.images.color import rgb_to_lab
from sslcli.errors import CheckpointError
from sslcli.evaluate.robust.defence import Defence
from sslcli.perturb.odds import odds_against
from sslcli.perturb.sgld import Langevin, sgld

MEAN, STD = (0.5, 0.4, 0.3), (0.5, 0.25, 0.2)
JEM = Langevin(steps=3, step_size=0.1, noise=0.01)


def network(classes=4):
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 6, 3), nn.SiLU(), nn.Flatten(), nn.Linear(6 * 36, classes)
    return nn.Sequential(*layers).eval()


def batch(count=5):
    generator = torch.Generator().manual_seed(2)
    return torch.rand(count, 3, 8, 8, generator=generator), torch.arange(count) % 4


def normalised(images):
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (MEAN, STD))
    return (images - mean) / std, std


def test_the_gradient_is_the_cross_entropy_s_divided_by_how_far_its_softmax_is_from_1():
    net, (images, labels) = network(), batch()
    leaf = images.clone().requires_grad_()
    nats = functional.cross_entropy(net(normalised(leaf)[0]), labels, reduction="none")
    (plain,) = torch.autograd.grad(nats.sum(), leaf)
    doubt = 1 - (-nats.detach()).exp()
    judged = Defence(net, MEAN, STD).judge(images, labels)
    torch.testing.assert_close(judged.gradient, plain / doubt.view(-1, 1, 1, 1))
    expected = (doubt / (1 - doubt)).log().double()
    torch.testing.assert_close(judged.loss, expected, rtol=1e-5, atol=1e-5)


def test_bpda_takes_the_gradient_at_refined_points_and_averages_over_replicas():
    net, (images, labels) = network(), batch()
    defence = Defence(net, MEAN, STD, noise=0.03, refinement=JEM, replicas=3)
    torch.manual_seed(5)
    judged = defence.judge(images, labels)
    torch.manual_seed(5)
    gradients, (x, std) = [], normalised(images)
    for _ in range(3):
        start = x + 0.03 * torch.randn_like(x)
        refined = sgld(lambda each: net(each).logsumexp(dim=1), start, JEM).samples
        leaf = refined.requires_grad_()
        nats = functional.cross_entropy(net(leaf), labels, reduction="none")
        (plain,) = torch.autograd.grad(nats.sum(), leaf)
        gradients.append(plain / (1 - (-nats.detach()).exp()).view(-1, 1, 1, 1))
    torch.testing.assert_close(judged.gradient, sum(gradients) / 3 / std)


def test_refinement_climbs_the_density():
    net, (images, _) = network(), batch()
    x, _ = normalised(images)
    refined = Defence(net, MEAN, STD, refinement=Langevin(5, 0.05, 0.0)).refined(images)
    assert (net(refined).logsumexp(1) > net(x).logsumexp(1)).all()
    torch.testing.assert_close(Defence(net, MEAN, STD).refined(images), x)


def test_a_verdict_is_of_the_mean_logits_of_all_replicas():
    net, (images, labels) = network(), batch()
    defence = Defence(net, MEAN, STD, noise=0.5, verdicts=40)
    torch.manual_seed(1)
    found = defence.errs(images, labels)
    torch.manual_seed(1)
    mean = sum(defence.logits(defence.refined(images)) for _ in range(40))
    assert torch.equal(found, mean.argmax(dim=1) != labels)
    assert not Defence(net, MEAN, STD, verdicts=40).is_random


def test_weights_collect_no_gradient_and_nothing_keeps_a_graph():
    net, (images, labels) = network(), batch()
    judged = Defence(net, MEAN, STD, noise=0.1, refinement=JEM, replicas=2).judge(images, labels)
    assert all(parameter.grad is None for parameter in net.parameters())
    assert not any(
        each.requires_grad for each in (judged.loss, judged.gradient, judged.is_broken, images)
    )


@pytest.mark.parametrize("factor", [1e-3, 1e2, 1e4, 1e8])
def test_no_factor_of_the_logits_hides_the_direction_of_the_gradient(factor):
    """In float32 the probabilities of a confident network are 0 and 1, and so would it be."""
    net, (images, _) = network(), batch()
    labels = net(normalised(images)[0]).argmax(dim=1)
    found = Defence(Scaled(net, factor), MEAN, STD).judge(images, labels).gradient
    with torch.no_grad():
        scores = Scaled(net, factor)(normalised(images)[0]).double()
    others = scores.scatter(1, labels[:, None], -torch.inf).softmax(dim=1)
    leaf = normalised(images)[0].requires_grad_()
    pull = (others - functional.one_hot(labels, 4)).float()
    (expected,) = torch.autograd.grad(net(leaf), leaf, pull)
    expected = expected / normalised(images)[1]
    assert found.flatten(1).norm(dim=1).min() > 0
    assert functional.cosine_similarity(found.flatten(1), expected.flatten(1)).min() > 0.9999


@pytest.mark.parametrize(
    ("precision", "told"), [("fp16", "`precision` bf16"), ("fp32", "diverged")]
)
def test_logits_that_are_not_finite_are_no_error_of_the_network(precision, told):
    net, (images, labels) = network(), batch()
    defence = Defence(Scaled(net, 1e8 if precision == "fp16" else 1e42), MEAN, STD, precision)
    for ask in (defence.errs, defence.judge):
        with pytest.raises(CheckpointError, match=r"logits are not finite for \d of 5") as caught:
            ask(images, labels)
        assert told in caught.value.hint


class Scaled(nn.Module):
    def __init__(self, net, factor):
        super().__init__()
        self.net, self.factor = net, factor

    def forward(self, images):
        return self.factor * self.net(images)


def test_an_attack_moves_red_green_and_blue_of_a_network_that_sees_lab():
    net, (images, labels) = network(), batch()
    mean, std = FITTING["lab"]
    judged = Defence(net, mean, std, space="lab").judge(images, labels)
    leaf = images.clone().requires_grad_()
    lab = (rgb_to_lab(leaf) - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    odds = odds_against(net(lab).double(), labels)
    (expected,) = torch.autograd.grad(odds.sum(), leaf)
    torch.testing.assert_close(judged.gradient, expected)
    torch.testing.assert_close(judged.loss, odds.detach())
