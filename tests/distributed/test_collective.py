"""What processes tell each other, on two of them and on one."""

import on_ranks
import pytest
import torch
from on_ranks import noise

from sslcli.distributed import collective
from sslcli.errors import PeerError

pytestmark = pytest.mark.ddp


def test_gathers_join_in_the_order_of_ranks_and_only_one_carries_gradient(two):
    whole = torch.cat([noise(4, 3)[0::2], noise(4, 3)[1::2]])
    for rank, (plain, joined, has_gradient, gradient) in enumerate(two(on_ranks.gathers)):
        assert torch.equal(plain, whole)
        assert torch.equal(joined, whole)
        assert not plain.requires_grad
        assert has_gradient
        assert torch.allclose(gradient, 3 * noise(4, 3, seed=1).chunk(2)[rank])


def test_shuffled_samples_come_back(two):
    (order, first, kept), (same, second, also) = two(on_ranks.shuffles)
    joined = torch.cat([noise(4, 3)[0::2], noise(4, 3)[1::2]])
    assert torch.equal(order, same)
    assert sorted(order.tolist()) == [0, 1, 2, 3]
    assert torch.equal(torch.cat([first, second]), joined[order])
    assert torch.equal(torch.cat([kept, also]), joined)


def test_votes_are_agreed_on_one_step_later(two):
    assert two(on_ranks.votes) == [[0, 0, 2, 3]] * 2


def test_messages_reach_all(two):
    assert two(on_ranks.messages) == [("from 0", [0, 1])] * 2


def test_a_fault_of_one_is_a_fault_of_all(two):
    assert two(on_ranks.fails_on_the_second) == [PeerError.__name__, "OSError"]


def test_one_process_needs_nobody():
    x = noise(4, 3).requires_grad_()
    assert collective.gather_with_gradient(x) is x
    assert not collective.gather(x).requires_grad
    assert collective.Ballot()(3) == 3
    assert collective.from_all("a") == ["a"]
    order = collective.permutation(4, torch.device("cpu"))
    assert torch.equal(collective.deal(collective.deal(x, order), order.argsort()), x.detach())
    with pytest.raises(OSError, match="full"):
        collective.together(lambda: (_ for _ in ()).throw(OSError(28, "full")))
