import pytest
import torch
from torch import nn
from torch.nn import functional

from sslcli.evaluate.robust.defence import Defence
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


def test_the_plain_gradient_is_that_of_the_image_before_normalisation():
    net, (images, labels) = network(), batch()
    leaf = images.clone().requires_grad_()
    loss = functional.cross_entropy(net(normalised(leaf)[0]), labels, reduction="sum")
    (expected,) = torch.autograd.grad(loss, leaf)
    judged = Defence(net, MEAN, STD).judge(images, labels)
    torch.testing.assert_close(judged.gradient, expected)
    assert judged.loss.sum().item() == pytest.approx(loss.item(), rel=1e-5)


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
        loss = functional.cross_entropy(net(leaf), labels, reduction="sum")
        gradients += torch.autograd.grad(loss, leaf)
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


def test_a_confident_network_still_has_a_gradient():
    """In float32 its probabilities are 0 and 1, and so would its gradient be."""
    net, (images, _) = network(), batch()
    confident = nn.Sequential(net, Scale(1e3)).eval()
    labels = confident(normalised(images)[0]).argmax(dim=1)
    plain = functional.cross_entropy(confident(normalised(images)[0]), labels, reduction="none")
    judged = Defence(confident, MEAN, STD).judge(images, labels)
    assert (plain == 0).any()
    assert judged.gradient[plain == 0].flatten(1).abs().amax(dim=1).gt(0).any()


class Scale(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, logits):
        return self.factor * logits
