from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from sslcli.evaluate.features import extract, weights_hash
from sslcli.evaluate.ood.density import (
    REFINEMENT,
    ApproximateMass,
    Density,
    LogDensity,
    Refinement,
)
from sslcli.perturb.sgld import Langevin


class Gaussian(nn.Module):
    """log p(x) = -a |x|^2 / 2."""

    def __init__(self, curvature: float) -> None:
        super().__init__()
        self.curvature = nn.Parameter(torch.tensor(curvature))

    def forward(self, images: Tensor) -> Tensor:
        return -0.5 * self.curvature * images.flatten(1).square().sum(dim=1)


class Classified(nn.Module):
    """log p(x) of a small classifier with BatchNorm."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        layers = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.SiLU(), nn.Flatten()
        self.net = nn.Sequential(*layers, nn.Linear(4 * 16, 5))

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images).float().logsumexp(dim=1)


def images(count: int = 70) -> Tensor:
    return torch.randn(count, 3, 6, 6, generator=torch.Generator().manual_seed(1))


def norms(x: Tensor) -> Tensor:
    return x.flatten(1).norm(dim=1)


def test_density_and_mass_of_a_gaussian():
    x, model = images(), Gaussian(0.5)
    torch.testing.assert_close(LogDensity(model)(x)[:, 0], -0.25 * norms(x).square())
    torch.testing.assert_close(ApproximateMass(model)(x)[:, 0], -0.5 * norms(x))


def test_mass_of_a_linear_classifier_is_its_mean_row():
    torch.manual_seed(0)
    head, x = nn.Linear(108, 5), images(9)
    rows = head(x.flatten(1)).softmax(dim=1) @ head.weight
    model = nn.Sequential(nn.Flatten(), head, LogSumExp())
    torch.testing.assert_close(ApproximateMass(model)(x)[:, 0], -rows.norm(dim=1))


class LogSumExp(nn.Module):
    def forward(self, logits: Tensor) -> Tensor:
        return logits.logsumexp(dim=1)


def test_refinement_of_a_gaussian_without_noise():
    x, curvature, steps = images(), 0.1, 20
    density = Density(Gaussian(curvature), Langevin(steps, 1.0, 0.0), seed=0)
    kept = (1 - curvature) ** steps
    gain, distance = Refinement(density)(x).unbind(dim=1)
    expected = -0.5 * curvature * norms(x).square() * (1 - kept**2)
    torch.testing.assert_close(gain, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(distance, -(1 - kept) * norms(x), rtol=1e-4, atol=1e-4)


def test_a_mode_of_the_density_has_the_highest_scores():
    mode = torch.zeros(1, 3, 6, 6)
    density = Density(Gaussian(1.0), replace(REFINEMENT, noise=0.0), seed=0)
    for network in LogDensity(density.log_p), ApproximateMass(density.log_p), Refinement(density):
        assert (network(mode) >= network(images())).all()


def test_refinement_is_the_same_on_every_call_and_follows_its_seed():
    first, other = (Refinement(Density(Classified().eval(), REFINEMENT, seed)) for seed in (0, 1))
    torch.manual_seed(5)
    before = torch.get_rng_state()
    once, again = first(images()), first(images())
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(once, again)
    assert not torch.equal(once, other(images()))


def test_seed_and_sampler_part_the_features_cache():
    densities = [
        Density(Gaussian(1.0), replace(REFINEMENT, noise=noise), seed)
        for noise in (0.01, 0.02)
        for seed in (0, 1)
    ]
    keys = {weights_hash(Refinement(each)) for each in densities}
    assert len(keys) == 4
    kinds = LogDensity(Gaussian(1.0)), ApproximateMass(Gaussian(1.0))
    assert weights_hash(kinds[0]) != weights_hash(kinds[1])


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_all_run_inside_evaluation_in_float32_and_leave_no_gradient(precision: str):
    model, x = Classified(), images().to(memory_format=torch.channels_last)  # as `extract` has it
    density = Density(model, REFINEMENT, seed=0)
    for network in LogDensity(model), ApproximateMass(model), Refinement(density):
        found = extract(network, [(x, torch.arange(70))], device="cpu", precision=precision)
        expected = network.eval()(x)
        torch.testing.assert_close(found.features, expected, rtol=1e-4, atol=1e-4)
        network.train()
    assert all(parameter.grad is None for parameter in model.parameters())


def test_an_image_is_scored_alike_beside_others():
    model = Classified().eval()
    for network in LogDensity(model), ApproximateMass(model):
        torch.testing.assert_close(network(images())[:1], network(images()[:1]))


def test_jems_refinement_is_the_default():
    assert Langevin(steps=20, step_size=1.0, noise=0.01) == REFINEMENT
