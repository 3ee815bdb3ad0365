import pytest
import torch
from timm.data.mixup import Mixup

from sslcli.config.section import MixingSection
from sslcli.methods import mixing

SETTINGS = [{"mixup": 0.8}, {"cutmix": 1.0}, {"mixup": 0.8, "cutmix": 1.0}]


def box_of(weights):
    """Return top, bottom, left and right of the pixels that are the other image's."""
    if not weights.any():
        return 0, 0, 0, 0
    rows, columns = weights.nonzero().T
    return rows.min(), rows.max() + 1, columns.min(), columns.max() + 1


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("seed", range(4))
def test_images_and_labels_are_mixed_as_timm_does_with_the_same_draws(settings, seed, monkeypatch):
    torch.manual_seed(seed)
    images, labels = torch.randn(6, 3, 9, 7), torch.randint(5, (6,))
    weights = mixing.draw_weights(9, 7, config := MixingSection(**settings))
    monkeypatch.setattr(mixing, "draw_weights", lambda *_: weights)
    found, shares = mixing.mix(images, labels, config, 5)

    cuts = "cutmix" in settings and set(weights.unique().tolist()) <= {0.0, 1.0}
    coins = iter([0.0, 0.0 if cuts else 0.9])  # whether to mix at all, and to cut
    monkeypatch.setattr("numpy.random.rand", lambda: next(coins))
    monkeypatch.setattr("numpy.random.beta", lambda *shape: 1 - float(weights.mean()))
    monkeypatch.setattr("timm.data.mixup.rand_bbox", lambda *a, **k: box_of(weights))
    alphas = {"mixup_alpha": 0.0, "cutmix_alpha": 0.0}
    alphas |= {f"{name}_alpha": value for name, value in settings.items()}
    oracle = Mixup(**alphas, prob=1.0, switch_prob=0.5, num_classes=5, label_smoothing=0.0)
    expected, theirs = oracle(images.clone(), labels)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(shares, theirs)


def test_boxes_are_those_of_timm_for_the_same_centre(monkeypatch):
    from timm.data.mixup import rand_bbox

    generator = torch.Generator().manual_seed(0)
    for share in torch.rand(50, generator=generator):
        centre = [int(torch.randint(side, (), generator=generator)) for side in (32, 24)]
        ours, theirs = iter(centre), iter(centre)
        with monkeypatch.context() as patch:
            patch.setattr(torch, "randint", lambda *_, ours=ours: torch.tensor(next(ours)))
            found = mixing.draw_box(32, 24, share)
        with monkeypatch.context() as patch:
            patch.setattr("numpy.random.randint", lambda *_, theirs=theirs, **k: next(theirs))
            top, bottom, left, right = rand_bbox((1, 3, 32, 24), 1 - float(share))
        expected = torch.zeros(32, 24, dtype=torch.bool)
        expected[top:bottom, left:right] = True
        assert torch.equal(found, expected)


def test_a_coin_chooses_between_the_two_and_a_seed_repeats_the_draws():
    config = MixingSection(mixup=0.8, cutmix=1.0)
    torch.manual_seed(0)
    drawn = [mixing.draw_weights(8, 8, config) for _ in range(200)]
    pasted = sum(set(each.unique().tolist()) <= {0.0, 1.0} for each in drawn)
    assert 70 < pasted < 130
    torch.manual_seed(0)
    assert torch.equal(mixing.draw_weights(8, 8, config), drawn[0])


def test_draws_read_nothing_back_so_that_costs_can_be_counted_without_data():
    with torch._subclasses.fake_tensor.FakeTensorMode():
        images, labels = torch.randn(4, 3, 8, 8), torch.zeros(4, dtype=torch.long)
        _, shares = mixing.mix(images, labels, MixingSection(mixup=0.2, cutmix=1.0), 5)
    assert shares.shape == (4, 5)
