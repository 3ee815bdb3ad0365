"""Two processes with half a batch each train as one process with the whole batch does.

A method that gathers is covered by adding its digits preset to `CASES`. Everything runs in float64,
so that only the order of additions differs: losses agree to 1e-9, gradients and weights to 1e-7 of
their largest entry.
"""

import pytest
import torch
from objectives import trained

pytestmark = pytest.mark.ddp
CASES = [
    "simsiam/digits",
    "byol/digits",
    "directpred/digits",
    "directcopy/digits",
    "moco-v3/digits",
    "dino/digits",
    "dino/digits-vit",
    "hdge/digits",
    "simclr/digits",
    "simclr-v2/digits",
    "supcon/digits",
    "instdisc/digits",
    "invaspread/digits",
    "cmc/digits",
    "cmc in batch",
    "moco-v1/digits",
    "moco-v2/digits",
    "clae/digits",
    "advprop/digits",
    "cpc-v1/digits",
    "cpc-v2/digits",
    "amdim/digits",
    "clip/scenes-colour",
    "siglip/scenes-colour",
    "simcse/phrases",
    "esimcse/phrases",
    "consert/phrases",
]
STEPS = 3


def assert_close(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        scale = max(value.abs().max().item(), 1e-3)
        assert (ordered(name, found[name]) - ordered(name, value)).abs().max() <= 1e-7 * scale, name


def ordered(name, tensor):
    """Sort a queue's rows, which stand in the order of ranks within a step."""
    return tensor[tensor[:, 0].argsort()] if name.endswith("queue.rows") else tensor


@pytest.mark.parametrize("case", CASES)
def test_two_processes_equal_one_with_both_halves(two, case):
    losses, gradients, state = trained(case, STEPS)
    for theirs, their_gradients, their_state in two(trained, case, STEPS):
        assert theirs == pytest.approx(losses, abs=1e-9)
        assert_close(their_gradients, gradients)
        assert_close(their_state, state)


def test_two_processes_in_chunks_equal_one_at_once(two):
    fields = {"encoder.name": "wrn-10-1", "encoder.norm": "none", "encoder.width": None}
    fields |= {"train.accumulate": 2}
    losses, gradients, state = trained("supcon/digits", STEPS, **fields)
    for found in two(trained, "supcon/digits", STEPS, **fields, **{"train.chunk_size": 5}):
        assert found[0] == pytest.approx(losses, abs=1e-9)
        assert_close(found[1], gradients)
        assert_close(found[2], state)


def test_a_gather_without_gradient_is_told_apart(two):
    _, gradients, _ = trained("own negatives", 1)
    (_, theirs, _), _ = two(trained, "own negatives", 1)
    worst = max(float((theirs[name] - value).abs().max()) for name, value in gradients.items())
    assert worst > 1e-3


def test_two_processes_agree_with_each_other(two):
    (_, _, first), (_, _, second) = two(trained, "simsiam/digits", STEPS)
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("case", ["jem/digits", "igebm/digits"])
def test_two_processes_of_a_density_share_weights_and_sample_for_themselves(two, case):
    (_, _, first), (_, _, second) = two(trained, case, 2, **{"method.sampler.steps": 2})
    own = {name for name in first if not torch.equal(first[name], second[name])}
    assert any(name.endswith("replay.images") for name in own)
    assert all("replay." in name for name in own)
