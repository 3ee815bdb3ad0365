import copy
import math

import pytest
import torch
from torch import Tensor, nn

from sslcli.engine.lars import LARS

FORMS = ["norm-of-sum", "sum-of-norms"]


def first_step(weight, gradient, **options) -> list[float]:
    """Return dw of one step in float64."""
    w = nn.Parameter(torch.tensor(weight, dtype=torch.float64))
    w.grad = torch.tensor(gradient, dtype=torch.float64)
    before = w.detach().clone()
    LARS([w], **options).step()
    return (before - w.detach()).tolist()


def slow_step(w: Tensor, buffer: Tensor, g: Tensor, lr: float, **o) -> tuple[Tensor, Tensor]:
    """Move one tensor as spec 0.3 writes it, with Python's branches."""
    d = g + o["weight_decay"] * w
    wn, dn, gn = w.norm().item(), d.norm().item(), g.norm().item()
    q = 1.0
    if o["trust"] and o["form"] == "norm-of-sum" and wn > 0 and dn > 0:
        q = o["trust"] * wn / dn
        q = min(q / lr, 1) if o["clip_rate"] else q
    elif o["trust"] and o["form"] == "sum-of-norms" and wn > 0 and gn > 0:
        q = o["trust"] * wn / (gn + o["weight_decay"] * wn + 1e-8)
        q = min(q / lr, 1) if o["clip_rate"] else q
    elif o["trust"] and o["form"] == "sum-of-norms":
        d = g
    if o["lr_in_momentum"]:
        buffer = o["momentum"] * buffer + lr * q * d
        return w - buffer, buffer
    buffer = o["momentum"] * buffer + q * d
    return w - lr * buffer, buffer


def parameters() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(4, 3, 3, 3), (5, 4), (5,), (2,), ()]
    made = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    made[2].zero_()
    return [nn.Parameter(tensor) for tensor in made]


@pytest.mark.parametrize(
    ("form", "expected"),
    [("sum-of-norms", [0.0010, 0.0046666667]), ("norm-of-sum", [0.0010476454, 0.0048890121])],
)
def test_first_step_has_its_golden_value(form, expected):
    options = {"lr": 1.0, "weight_decay": 0.1, "trust": 1e-3, "form": form}
    assert first_step([3.0, 4.0], [0.0, 1.0], **options) == pytest.approx(expected, abs=1e-9)


def test_clipped_rate_has_solos_golden_value():
    options = {"lr": 0.3, "weight_decay": 0.1, "trust": 0.02, "form": "sum-of-norms"}
    moved = first_step([3.0, 4.0], [0.0, 1.0], clip_rate=True, **options)
    assert moved == pytest.approx([0.02, 0.0933333333], abs=1e-8)


@pytest.mark.parametrize(("inside", "total"), [(True, 3.0), (False, 1.461)])
def test_momentum_remembers_the_rate_only_when_it_is_inside(inside, total):
    w = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = LARS([w], lr=1.0, momentum=0.9, trust=0.0, lr_in_momentum=inside)
    for lr in (1.0, 0.1, 0.1):
        optimizer.param_groups[0]["lr"] = lr
        w.grad = torch.ones(1, dtype=torch.float64)
        optimizer.step()
    assert -w.item() == pytest.approx(total, abs=1e-12)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("clip_rate", [False, True])
def test_zero_weights_move_by_the_plain_gradient(form, clip_rate):
    options = {"lr": 0.5, "weight_decay": 0.1, "form": form, "clip_rate": clip_rate}
    assert first_step([0.0, 0.0], [1.0, -2.0], **options) == pytest.approx([0.5, -1.0])


@pytest.mark.parametrize("form", FORMS)
def test_zero_gradient_without_decay_moves_nothing(form):
    assert first_step([3.0, 4.0], [0.0, 0.0], lr=1.0, form=form) == [0.0, 0.0]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("clip_rate", [False, True])
@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("trust", [1e-3, 0.5, 0.0])
def test_steps_equal_the_slow_reference(form, clip_rate, inside, trust):
    options = {"momentum": 0.9, "weight_decay": 0.01, "trust": trust, "form": form}
    options |= {"clip_rate": clip_rate, "lr_in_momentum": inside}
    fast = parameters()
    slow = [(p.detach().clone(), torch.zeros_like(p)) for p in fast]
    optimizer = LARS(fast, lr=0.1, **options)
    for step in range(4):
        lr = optimizer.param_groups[0]["lr"] = 0.1 / (step + 1)
        for index, p in enumerate(fast):
            p.grad = torch.sin(p.detach() + step) * (index != 3)
            slow[index] = slow_step(*slow[index], p.grad, lr, **options)
        optimizer.step()
    for p, (expected, _) in zip(fast, slow, strict=True):
        torch.testing.assert_close(p.detach(), expected, rtol=1e-12, atol=1e-14)


def test_clipped_rate_takes_no_step_at_rate_zero():
    assert first_step([3.0, 4.0], [0.0, 1.0], lr=0.0, clip_rate=True) == [0.0, 0.0]


def test_parameter_without_gradient_stays_bit_identical():
    frozen, other = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
    optimizer = LARS([frozen, other], lr=0.1, weight_decay=0.1)
    frozen.grad, other.grad = torch.ones(3), torch.ones(3)
    optimizer.step()
    kept = frozen.detach().clone(), optimizer.state[frozen]["momentum_buffer"].clone()
    frozen.grad = None
    optimizer.step()
    assert torch.equal(frozen, kept[0])
    assert torch.equal(optimizer.state[frozen]["momentum_buffer"], kept[1])


def test_non_finite_gradient_is_not_hidden():
    assert all(math.isnan(x) for x in first_step([3.0, 4.0], [math.nan, 1.0], lr=1.0))


def test_state_goes_on_exactly_after_a_round_trip():
    first = parameters()
    optimizer = LARS(first, lr=0.1, weight_decay=0.01)
    for p in first:
        p.grad = torch.cos(p.detach())
    optimizer.step()
    second = [nn.Parameter(p.detach().clone()) for p in first]
    copied = LARS(second, lr=9.0)
    copied.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for p, q in zip(first, second, strict=True):
        p.grad = q.grad = torch.cos(p.detach())
    optimizer.step()
    copied.step()
    assert all(torch.equal(p, q) for p, q in zip(first, second, strict=True))
