"""The read-outs of a sentence are the means that their names say, over real tokens."""

import pytest
import torch

from sslcli.nn.pooling import STATES, pool

torch.manual_seed(0)
HIDDEN = [torch.randn(2, 4, 3) for _ in range(4)]
MASK = torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0]]).bool()


def mean(states):
    return torch.stack([states[0, :3].mean(dim=0), states[1, :2].mean(dim=0)])


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("cls", HIDDEN[3][:, 0]),
        ("avg", mean(HIDDEN[3])),
        ("avg_top2", mean((HIDDEN[3] + HIDDEN[2]) / 2)),
        ("avg_first_last", mean((HIDDEN[3] + HIDDEN[1]) / 2)),
        ("avg_emb_last", mean((HIDDEN[3] + HIDDEN[0]) / 2)),
    ],
)
def test_each_kind_is_its_mean(kind, expected):
    torch.testing.assert_close(pool(HIDDEN, MASK, kind), expected)


@pytest.mark.parametrize("kind", STATES)
def test_padding_has_no_part(kind):
    other = [state.masked_fill(~MASK[..., None], 7.0) for state in HIDDEN]
    assert torch.equal(pool(other, MASK, kind), pool(HIDDEN, MASK, kind))


def test_a_row_of_padding_gives_zeros_and_an_unknown_kind_is_refused():
    assert pool(HIDDEN, torch.zeros_like(MASK), "avg").abs().max() == 0
    with pytest.raises(ValueError, match="avg_emb_last"):
        pool(HIDDEN, MASK, "max")
