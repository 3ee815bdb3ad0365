import pytest
import torch
from torch import nn
from torch.nn import functional

from sslcli.nn.modes import evaluating
from sslcli.perturb.sgld import Langevin, sgld


def quadratic(curvature):
    return lambda x: -0.5 * curvature * x.square().flatten(1).sum(dim=1)


@pytest.mark.parametrize("noise_first", [False, True])
@pytest.mark.parametrize("curvature", [1.0, 0.1])
def test_stationary_variance_on_a_quadratic(curvature, noise_first):
    torch.manual_seed(0)
    start = torch.zeros(200_000, 1)
    settings = Langevin(200, 1.0, 0.01, noise_first=noise_first)
    samples = sgld(quadratic(curvature), start, settings).samples
    keep = (1 - curvature) ** 2
    expected = 1e-4 * (keep if noise_first else 1) / (1 - keep)  # the last move shrinks the noise
    found = samples.var().item()
    assert found == pytest.approx(expected, rel=0.02, abs=1e-12)


def test_golden_variances():
    assert pytest.approx(5.263e-4, rel=1e-4) == 0.01**2 / (1 - (1 - 0.1) ** 2)
    assert Langevin(20, 1.0, 0.01).temperature == pytest.approx(5e-5)
    assert Langevin(60, 10.0, 0.005).temperature == pytest.approx(1.25e-6)


def test_no_step_returns_the_start():
    start = torch.randn(3, 2)
    chain = sgld(quadratic(1.0), start, Langevin(0, 1.0, 0.1))
    assert torch.equal(chain.samples, start)
    assert chain.log_density.shape == (0, 3)


def test_without_noise_small_steps_climb_a_concave_density():
    start = torch.full((4, 3), 2.0)
    rising = sgld(quadratic(1.0), start, Langevin(30, 0.1, 0.0)).log_density
    assert (rising.diff(dim=0) > 0).all()


def test_bounds_hold_and_a_step_moves_no_further_than_its_clamp():
    torch.manual_seed(0)
    start = torch.rand(8, 3, 4, 4)
    steep = quadratic(-1e6)  # pushes everything outwards
    settings = Langevin(5, 10.0, 0.005, noise_first=True, gradient_clamp=0.01, bounds=(0.0, 1.0))
    noisy = sgld(steep, start, settings).samples
    assert noisy.min() >= 0
    assert noisy.max() <= 1
    plain = sgld(steep, start, Langevin(5, 10.0, 0.0, gradient_clamp=0.01)).samples
    assert (plain - start).abs().max() <= 0.1 * 5 + 1e-5


def test_each_step_is_told_as_soon_as_it_is_done():
    told = []
    start = torch.zeros(2, 1)
    chain = sgld(quadratic(1.0), start, Langevin(3, 0.1, 0.01), after_step=told.append)
    assert told == [1, 2, 3]
    assert len(chain.log_density) == 3


def small_net():
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.SiLU(), nn.Dropout(0.5), nn.Flatten()
    return nn.Sequential(*layers, nn.Linear(8 * 36, 1))


def test_sampler_leaves_weights_and_modes_alone():
    net, start = small_net(), torch.randn(4, 3, 8, 8)
    net[1].eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with evaluating(net):
        sgld(lambda x: net(x).squeeze(1), start, Langevin(3, 1.0, 0.01))
    assert all(parameter.grad is None for parameter in net.parameters())
    assert [m.training for m in net] == [True, False, True, True, True, True]
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_modes_come_back_after_an_error():
    net = small_net()
    with pytest.raises(RuntimeError), evaluating(net):
        raise RuntimeError
    assert all(module.training for module in net.modules())


def test_updates_stay_in_float32_under_autocast():
    net, start = small_net().eval(), torch.randn(2, 3, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        chain = sgld(lambda x: net(x).squeeze(1), start, Langevin(2, 1e-5, 0.0))
    assert chain.samples.dtype == torch.float32
    moved = (chain.samples - start).abs().max()
    assert 0 < moved < 1e-3  # bf16 would round such steps away


def test_samples_carry_no_graph_unless_asked():
    net, start = small_net().eval(), torch.randn(2, 3, 8, 8)
    settings = Langevin(3, 0.1, 0.0)
    free = sgld(lambda x: net(x).squeeze(1), start, settings)
    kept = sgld(lambda x: net(x).squeeze(1), start, settings, differentiable=True)
    assert not free.samples.requires_grad
    torch.testing.assert_close(free.samples, kept.samples.detach())
    kept.samples.sum().backward()
    assert net[0].weight.grad.abs().sum() > 0


def pyld(first, rest, x, outer, inner, step, bound):
    """Reuse the gradient behind the first layer for `inner` steps (JEM++)."""
    for _ in range(outer):
        hidden = first(x).detach().requires_grad_()
        (behind,) = torch.autograd.grad(rest(hidden).sum(), hidden)
        for _ in range(inner):
            x = x.detach().requires_grad_()
            (gradient,) = torch.autograd.grad((first(x) * behind).sum(), x)
            x = (x + step * gradient.clamp(-bound, bound)).clamp(-1, 1).detach()
    return x


def test_pyld_is_proximal_sgld_behind_a_linear_first_layer():
    torch.manual_seed(0)
    first = nn.Conv2d(3, 8, 3).double()
    rest = nn.Sequential(nn.SiLU(), nn.Conv2d(8, 8, 3), nn.SiLU(), nn.Flatten(), nn.Linear(128, 1))
    rest.double().requires_grad_(False)
    start = torch.rand(4, 3, 8, 8, dtype=torch.float64) * 2 - 1
    expected = pyld(first, rest, start, 10, 5, 0.2, 1.0)
    settings = Langevin(10, 1.0, 0.0, gradient_clamp=1.0, bounds=(-1.0, 1.0))
    found = sgld(lambda x: rest(first(x)).squeeze(1), start, settings).samples
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-13)


def test_a_batch_norm_in_training_mode_ties_images_together():
    """Which is why samples are drawn in evaluation mode."""
    net, x = small_net(), torch.randn(2, 3, 8, 8, requires_grad=True)
    net[3].p = 0.0

    def influence():
        return torch.autograd.grad(functional.softplus(net(x)[0]).sum(), x)[0][1].abs().max()

    assert influence() > 0
    with evaluating(net):
        assert influence() == 0
