import pytest
import torch

from sslcli.evaluate.sampling import finite_chains, settling, shared_out


def wandering(steps, chains, seed=0, memory=0.9):
    """Return stationary energies, correlated over steps, of chains with levels of their own."""
    torch.manual_seed(seed)
    energies = [torch.randn(chains)]
    for _ in range(steps - 1):
        energies.append(memory * energies[-1] + (1 - memory**2) ** 0.5 * torch.randn(chains))
    return torch.stack(energies) + torch.randn(chains)


def alike(energies):
    return torch.zeros(energies.shape[1], dtype=torch.int64)


def verdict(energies):
    return settling(energies, alike(energies)).has_settled


def test_stationary_chains_have_settled():
    settled = [verdict(wandering(80, 32, seed)) for seed in range(100)]
    assert sum(settled) >= 99


@pytest.mark.parametrize("slope", [-0.05, 0.05])
def test_energies_that_move_together_have_not_settled(slope):
    energies = wandering(80, 32) + slope * torch.arange(80)[:, None]
    found = settling(energies, alike(energies))
    assert not found.has_settled
    assert found.drift == pytest.approx(20 * slope, abs=0.4)
    assert found.spread == pytest.approx(1.3, abs=0.4)


def test_a_drift_far_below_the_spread_does_not_count():
    levels = torch.linspace(-1, 1, 32)
    energies = levels + 0.001 * torch.arange(80)[:, None]
    assert verdict(energies)
    assert settling(energies, alike(energies)).drift == pytest.approx(0.02, abs=1e-6)
    assert not verdict(energies + 0.01 * torch.arange(80)[:, None])


def test_a_few_runaways_neither_hide_the_others_nor_speak_for_them():
    still, moving = wandering(80, 32), wandering(80, 32) + 0.1 * torch.arange(80)[:, None]
    for energies in (still, moving):
        energies[:, :3] -= 1e3 * torch.arange(80)[:, None]
    assert verdict(still)
    assert not verdict(moving)


def test_levels_of_classes_do_not_hide_a_drift():
    classes = torch.arange(32) % 2
    energies = wandering(80, 32) + 100 * classes - 0.05 * torch.arange(80)[:, None]
    assert verdict(energies)
    assert not settling(energies, classes).has_settled


def test_few_steps_or_chains_do_not_say():
    for steps, chains in ((39, 32), (80, 9), (0, 32)):
        energies = torch.zeros(steps, chains)
        assert settling(energies, alike(energies)) is None


def test_samples_are_shared_out_evenly_and_in_order():
    assert shared_out(7, [2, 5, 9]).tolist() == [2, 2, 2, 5, 5, 9, 9]
    assert shared_out(2, [0, 1, 2]).tolist() == [0, 1]
    assert shared_out(3, [-1]).tolist() == [-1, -1, -1]


def test_a_chain_fails_by_its_end_or_by_any_energy():
    samples, energies = torch.zeros(4, 3, 2, 2), torch.zeros(5, 4)
    samples[1, 0, 0, 0] = torch.nan
    energies[2, 3] = torch.inf
    assert finite_chains(samples, energies).tolist() == [True, False, True, False]
    assert finite_chains(samples, energies[:0]).tolist() == [True, False, True, True]
