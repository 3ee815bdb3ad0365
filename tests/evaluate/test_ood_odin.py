import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from sslcli.evaluate.features import extract, weights_hash
from sslcli.evaluate.ood.logits import msp
from sslcli.evaluate.ood.odin import OdinNetwork, odin

STD = (0.2, 0.25, 0.5)


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Tanh(), nn.Flatten())
    return nn.Sequential(body, nn.Linear(4 * 36, 5)).eval()


def images(count: int) -> Tensor:
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def slow(network: nn.Module, image: Tensor, temperature: float, epsilon: float) -> Tensor:
    """Return one image after the step, by finite differences of the loss."""
    target = network(image[None]).argmax(dim=1)

    def loss(x: Tensor) -> Tensor:
        return functional.cross_entropy(network(x[None]) / temperature, target)

    moved = image.clone()
    for at in range(image.numel()):
        nudge = torch.zeros(image.numel(), dtype=image.dtype)
        nudge[at] = 1e-6
        slope = loss(image + nudge.view_as(image)) - loss(image - nudge.view_as(image))
        channel = at // image[0].numel()
        moved.view(-1)[at] -= epsilon * slope.sign() / STD[channel]
    return moved


def test_the_step_equals_finite_differences(network: nn.Module):
    network, image = network.double(), images(1).double()
    odin_network = OdinNetwork(network, STD, 10.0, 0.0014)
    odin_network.std = odin_network.std.double()
    moved = odin_network.moved(image)[0]
    expected = slow(network, image[0], 10.0, 0.0014)
    assert ((moved - expected).abs() < 1e-6).double().mean() > 0.98


def test_the_step_is_epsilon_in_pixels_of_each_channel(network: nn.Module):
    x = images(4)
    step = (OdinNetwork(network, STD, 1000.0, 0.0028).moved(x) - x).abs()
    for channel, std in enumerate(STD):
        assert step[:, channel].max().item() == pytest.approx(0.0028 / std, rel=1e-3)


@pytest.mark.parametrize("factor", [1e-3, 1e2, 1e4])
def test_the_step_is_the_same_for_logits_of_any_scale(network: nn.Module, factor: float):
    """Where the softmax rounds to 1, the cross-entropy would have no gradient."""
    x, last = images(6), network[1]
    scaled = nn.Linear(last.in_features, last.out_features)
    scaled.load_state_dict({name: factor * each for name, each in last.state_dict().items()})
    two, far = nn.Sequential(network[0], last), nn.Sequential(network[0], scaled)
    step = OdinNetwork(two, STD, 1.0, 0.0014).moved(x) - x
    other = OdinNetwork(far, STD, factor, 0.0014).moved(x) - x
    assert (step.sign() == other.sign()).double().mean() > 0.999
    surer = OdinNetwork(far, STD, 1.0, 0.0014).moved(x) - x
    assert (surer != 0).flatten(1).any(dim=1).all()


def test_the_step_makes_the_prediction_surer(network: nn.Module):
    x = images(50)
    moved = OdinNetwork(network, STD, 1.0, 0.0014)(x)
    assert (msp(moved) > msp(network(x))).double().mean() > 0.95


def test_it_runs_inside_evaluation_and_leaves_no_gradient(network: nn.Module):
    wrapped, x = OdinNetwork(network, STD, 1000.0, 0.0014), images(70)
    found = extract(wrapped, [(x, torch.arange(70))], device="cpu").features
    torch.testing.assert_close(found, wrapped(x).detach(), rtol=1e-4, atol=1e-4)
    assert all(parameter.grad is None for parameter in network.parameters())


def test_without_a_step_the_score_is_that_of_divided_logits(network: nn.Module):
    x = images(6)
    still = OdinNetwork(network, STD, 1000.0, 0.0)(x)
    torch.testing.assert_close(still, network(x))
    assert odin(still, 1000.0).unique().numel() == 6
    torch.testing.assert_close(odin(still, 1.0), msp(still))


def test_settings_part_the_features_cache(network: nn.Module):
    keys = {weights_hash(OdinNetwork(network, STD, t, e)) for t in (1.0, 10.0) for e in (0.1, 0.2)}
    assert len(keys) == 4


def test_the_step_is_not_rounded_away_in_bf16(network: nn.Module):
    wrapped, batches = OdinNetwork(network, STD, 10.0, 0.0014), [(images(9), torch.arange(9))]
    narrow, wide = (
        extract(wrapped, batches, device="cpu", precision=precision).features
        for precision in ("bf16", "fp32")
    )
    torch.testing.assert_close(narrow, wide)
