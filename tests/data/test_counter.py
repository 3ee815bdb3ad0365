import torch

from sslcli.data.counter import GOLDEN, mix, uniform

ROWS = torch.arange(20_000)


def correlation(a, b):
    return torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1].abs().item()


def test_first_words_are_those_of_splitmix64():
    words = mix(torch.tensor(1234567) + torch.arange(1, 4) * GOLDEN)
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423]  # its reference code
    assert [word % 2**64 for word in words.tolist()] == expected


def test_numbers_are_uniform():
    numbers = uniform(0, 0, ROWS, 0, 0, 10)
    counts = torch.histc(numbers, bins=64, min=0, max=1)
    expected = numbers.numel() / 64
    chi_square = ((counts - expected) ** 2 / expected).sum().item()
    assert 25 < chi_square < 115  # 63 degrees of freedom: both tails below 1e-4
    assert numbers.min() >= 0
    assert numbers.max() < 1


def test_neighbours_of_every_kind_are_independent():
    here = uniform(3, 5, ROWS, 1, 2, 4)
    others = [
        uniform(4, 5, ROWS, 1, 2, 4),
        uniform(3, 6, ROWS, 1, 2, 4),
        uniform(3, 5, ROWS + 1, 1, 2, 4),
        uniform(3, 5, ROWS, 2, 2, 4),
        uniform(3, 5, ROWS, 1, 3, 4),
        here.roll(1, dims=1),
    ]
    assert all(correlation(here, other) < 0.015 for other in others)  # 4 deviations


def test_neighbouring_counters_share_no_stream():
    numbers = torch.cat(
        [
            uniform(seed, epoch, torch.arange(50), view, stream, 3)
            for seed in (0, 1)
            for epoch in (0, 1)
            for view in (0, 1)
            for stream in (0, 1)
        ]
    )
    assert len(numbers.unique(dim=0)) == len(numbers)


def test_bits_depend_on_nothing_but_their_own_counter():
    rows = torch.tensor([7, 2**40, 0, 123])
    together = uniform(1, 2, rows, torch.tensor([0, 1, 1, 0]), 3, 5)
    alone = [uniform(1, 2, rows[n : n + 1], n in (1, 2), 3, 2) for n in range(4)]
    assert torch.equal(together[:, :2], torch.cat(alone))


def test_bits_never_change():
    numbers = (uniform(0, 0, torch.tensor([0, 1]), 0, 0, 2) * 2**24).long()
    assert numbers.tolist() == [[11187560, 1463745], [12966225, 9472492]]
