import pytest
import torch
from torchvision.transforms import RandomResizedCrop

from sslcli.config.views import ViewConfig
from sslcli.data.images.draws import Samples, alike_together, draw, draw_boxes

RECIPE = {
    "count": 1,
    "size": 32,
    "crop_scale": (0.08, 1.0),
    "flip": 0.5,
    "jitter": {
        "brightness": 0.4,
        "contrast": 0.4,
        "saturation": 1.5,
        "hue": 0.1,
        "probability": 0.8,
    },
    "grayscale": 0.2,
    "blur": {"probability": 0.5, "sigma": (0.1, 2.0)},
    "solarize": {"probability": 0.3, "threshold": 0.5},
}


def numbers(count):
    return Samples(0, 0, torch.arange(count), torch.zeros(count, dtype=torch.long)).numbers()


def test_parameters_have_the_recipes_ranges_and_frequencies():
    draws = draw(ViewConfig(**RECIPE), numbers(20_000))
    for name, share in {
        "flip": 0.5,
        "jitter": 0.8,
        "grayscale": 0.2,
        "blur": 0.5,
        "solarize": 0.3,
    }.items():
        assert abs(getattr(draws, name).float().mean().item() - share) < 0.015
    low, high = draws.factors.aminmax(dim=0)
    torch.testing.assert_close(low, torch.tensor([0.6, 0.6, 0.0, -0.1]), atol=2e-3, rtol=0)
    torch.testing.assert_close(high, torch.tensor([1.4, 1.4, 2.5, 0.1]), atol=2e-3, rtol=0)
    torch.testing.assert_close(draws.sigma.mean(), torch.tensor(1.05), atol=0.02, rtol=0)


def test_every_order_of_the_jitter_is_equally_likely():
    order = draw(ViewConfig(**RECIPE), numbers(24_000)).order
    assert torch.equal(order.sort(dim=1).values, torch.arange(4).expand(24_000, 4))
    counts = order.unique(dim=0, return_counts=True)[1]
    assert len(counts) == 24
    assert counts.min() > 850  # 1000 +- 31
    assert counts.max() < 1150


def test_an_operation_more_shifts_no_other_draws():
    plain = {key: RECIPE[key] for key in ("count", "size", "crop_scale", "flip", "grayscale")}
    full, part = draw(ViewConfig(**RECIPE), numbers(99)), draw(ViewConfig(**plain), numbers(99))
    assert torch.equal(full.flip, part.flip)
    assert torch.equal(full.grayscale, part.grayscale)
    assert not part.jitter.any()


def test_samples_that_take_the_same_steps_lie_side_by_side():
    config, table = ViewConfig(**RECIPE), numbers(500)
    draws = draw(config, table[alike_together(config, table)])
    turn = torch.where(draws.jitter, (draws.order == 3).int().argmax(dim=1), 4)
    assert (turn.diff() >= 0).all()
    assert len(turn.unique()) == 5


def test_sure_and_impossible_operations():
    draws = draw(ViewConfig(**RECIPE | {"flip": 1.0, "grayscale": 0.0}), numbers(5000))
    assert draws.flip.all()
    assert not draws.grayscale.any()


@pytest.mark.parametrize(("height", "width"), [(32, 32), (48, 90)])
def test_boxes_have_torchvisions_distribution(height, width):
    config = ViewConfig(**RECIPE)
    ours = draw_boxes(config, numbers(6000), height, width).float()
    image = torch.empty(3, height, width)
    torch.manual_seed(0)
    theirs = torch.tensor(
        [RandomResizedCrop.get_params(image, [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(6000)]
    ).float()
    quantiles = torch.linspace(0.05, 0.95, 19)
    torch.testing.assert_close(
        ours.quantile(quantiles, dim=0), theirs.quantile(quantiles, dim=0), atol=width / 24, rtol=0
    )
    assert (ours[:, :2] >= 0).all()
    assert (ours[:, 0] + ours[:, 2]).max() == height
    assert (ours[:, 1] + ours[:, 3]).max() == width


@pytest.mark.parametrize(("height", "width"), [(10, 200), (200, 10), (33, 40)])
def test_a_crop_that_cannot_fit_falls_back_to_torchvisions_central_one(height, width):
    scale = [1.0, 1.0]
    ratio = [0.5, 0.5] if (height, width) == (33, 40) else [3 / 4, 4 / 3]
    config = ViewConfig(count=1, size=8, crop_scale=tuple(scale), crop_ratio=tuple(ratio))
    expected = RandomResizedCrop.get_params(torch.empty(3, height, width), scale, ratio)
    assert draw_boxes(config, numbers(3), height, width).tolist() == [list(expected)] * 3
