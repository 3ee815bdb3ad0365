"""Views of a group that share draws, and views in patches."""

from functools import partial

import pytest
import torch
from pydantic import ValidationError

from sslcli.config.pixels import Pixels
from sslcli.config.views import ViewConfig
from sslcli.data.images.color import apply_where, grayscale, jitter, solarize
from sslcli.data.images.draws import Samples, draw, draw_boxes
from sslcli.data.images.views import Views

ROWS = torch.tensor([3, 1000, 41, 0, 77, 5])
JITTER = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1, "probability": 0.8}
PLAIN = {"count": 3, "size": 16, "crop_scale": (0.2, 1.0), "flip": 0.5, "jitter": JITTER}
GREY = PLAIN | {"count": 2, "grayscale": 0.5, "solarize": {"probability": 0.5, "threshold": 0.5}}


def images():
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (6, 3, 24, 24), dtype=torch.uint8, generator=generator)


def make(config, *before, mean=(0.0,) * 3, std=(1.0,) * 3):
    return Views([*before, config], Pixels(8, mean, std), 7)


def numbers(config, first):
    views = torch.arange(first, first + config.count).repeat_interleave(len(ROWS))
    samples = Samples(7, 2, ROWS.repeat(config.count), views, first, config.shared)
    return samples.numbers().chunk(config.count)


def test_shared_operations_are_drawn_as_for_the_first_view_and_others_for_each():
    alone, together = ViewConfig(**PLAIN), ViewConfig(**PLAIN, shared=("flip", "jitter"))
    free, bound = numbers(alone, 4), numbers(together, 4)
    assert torch.equal(bound[0], free[0])
    for own, loose in zip(bound[1:], free[1:], strict=True):
        shared, first = draw(together, own), draw(together, bound[0])
        for name in ("flip", "jitter", "factors", "order"):
            assert torch.equal(getattr(shared, name), getattr(first, name)), name
        boxes = [draw_boxes(together, each, 24, 24) for each in (own, loose, bound[0])]
        assert torch.equal(boxes[0], boxes[1])
        assert not torch.equal(boxes[0], boxes[2])


def test_views_that_share_everything_are_one_view():
    config = ViewConfig(**PLAIN, shared=("crop", "jitter", "flip"))
    first, *others = make(config)(images(), ROWS, 1)
    assert all(torch.equal(first, other) for other in others)


def test_a_group_shares_within_itself_alone():
    config = ViewConfig(**PLAIN, shared=("crop", "jitter", "flip"))
    views = make(config, ViewConfig(**PLAIN))(images(), ROWS, 1)
    assert not torch.equal(views[0], views[3])
    assert torch.equal(views[3], views[5])


def test_workers_cut_the_crop_that_is_shared():
    config = ViewConfig(**PLAIN, shared=("crop",))
    first, *others = make(config).cut(images()[0].permute(1, 2, 0).numpy(), 3, 1)
    assert all((first == other).all() for other in others)


PATCHES = {"patches": {"grid": 3, "side": 8}}


def test_patches_without_colours_are_the_grid_of_the_view():
    fields = {"count": 2, "size": 16, "crop_scale": (0.2, 1.0), "flip": 0.5}
    whole = make(ViewConfig(**fields))(images(), ROWS, 1)
    found = make(ViewConfig(**fields, **PATCHES))(images(), ROWS, 1)
    for view, patches in zip(whole, found, strict=True):
        assert patches.shape == (6, 3, 3, 3, 8, 8)
        for row in range(3):
            for column in range(3):
                cell = view[:, :, 4 * row : 4 * row + 8, 4 * column : 4 * column + 8]
                assert torch.equal(patches[:, row, column], cell)


def test_each_patch_is_coloured_by_its_own_draws():
    """Do each patch by itself, as a view of its own number, with the slow way around."""
    fields = {**GREY, "count": 1, "flip": 0.0, "crop_scale": (1, 1), "crop_ratio": (1, 1)}
    config, pixels = ViewConfig(**fields | {"size": 24}, patches={"grid": 2, "side": 12}), images()
    (found,) = make(config)(pixels, ROWS, 1)
    for place in range(4):
        top, left = 12 * (place // 2), 12 * (place % 2)
        view = torch.full_like(ROWS, (1 << 32) * (place + 1))
        draws = draw(config, Samples(7, 1, ROWS, view).numbers())
        cell = pixels[:, :, top : top + 12, left : left + 12].float() / 255
        for n in range(6):
            one = cell[n : n + 1].clone()
            single = type(draws)(**{k: v[n : n + 1] for k, v in vars(draws).items()})
            apply_where(single.jitter, jitter, one, single.factors, single.order)
            apply_where(single.grayscale, grayscale, one)
            apply_where(single.solarize, partial(solarize, config.solarize.threshold), one)
            patch = found[n, place // 2, place % 2]
            torch.testing.assert_close(patch, one[0], atol=2e-6, rtol=0)


@pytest.mark.parametrize("extra", [PATCHES, {"shared": ("jitter", "crop")}, {}])
def test_samples_do_not_depend_on_their_batch_nor_on_when_they_are_made(extra):
    views = make(ViewConfig(**GREY, **extra))
    whole, again = views(images(), ROWS, 1), views(images(), ROWS, 1)
    part = views(images()[2:5], ROWS[2:5], 1)
    for one, two, some in zip(whole, again, part, strict=True):
        assert torch.equal(one, two)
        assert torch.equal(one[2:5], some)
    assert not torch.equal(whole[0], views(images(), ROWS, 2)[0])


def test_an_example_has_the_shape_of_patches():
    views = make(ViewConfig(**GREY, **PATCHES))
    made = [view.shape for view in views(images(), ROWS, 1)]
    assert [view.shape for view in views.example(6, torch.device("cpu"))] == made


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"shared": ("blur", "autoaugment")}, "shared names autoaugment"),
        ({"patches": {"grid": 4, "side": 8}}, "do not lie evenly"),
        ({"patches": {"grid": 2, "side": 16}}, "do not lie evenly"),
    ],
)
def test_what_cannot_be_shared_or_cut_is_refused(fields, message):
    with pytest.raises(ValidationError, match=message):
        ViewConfig(**PLAIN, **fields)


TRANSLATED = ViewConfig(
    count=2,
    size=24,
    crop_scale=(1, 1),
    crop_ratio=(1, 1),
    pad=4,
    pad_probability=0.8,
    flip=0.5,
    shared=("flip",),
)


def translated(picture, down, right):
    """Paste an image and its mirror images beside it, one pixel over each other, and cut."""
    size = picture.shape[-1]
    canvas = torch.zeros(3, 3 * size, 3 * size)
    for row in (-1, 0, 1):
        for column in (-1, 0, 1):
            axes = [axis for axis, by in ((1, row), (2, column)) if by]
            top, left = size + row * (size - 1), size + column * (size - 1)
            canvas[:, top : top + size, left : left + size] = picture.flip(axes)
    top, left = size + down, size + right
    return canvas[:, top : top + size, left : left + size]


def test_translated_views_equal_pasted_mirror_images_with_one_flip_for_both():
    made, count = make(TRANSLATED)(images(), ROWS, 2), 0
    flips = []
    for view, table in zip(made, numbers(TRANSLATED, 0), strict=True):
        draws = draw(TRANSLATED, table)
        flips.append(draws.flip)
        for n, picture in enumerate(images().float() / 255):
            down, right = draws.shift[n].tolist()
            expected = translated(picture, down, right)
            expected = expected.flip(-1) if draws.flip[n] else expected
            torch.testing.assert_close(view[n], expected, atol=1e-5, rtol=0)
            count += (down, right) == (0, 0)
    assert torch.equal(*flips)
    assert 0 < flips[0].sum() < len(ROWS)
    assert 0 < count < 12


def test_a_fifth_of_the_images_stays_in_place():
    samples = Samples(0, 0, torch.arange(20_000), torch.zeros(20_000, dtype=torch.int64))
    shift = draw(TRANSLATED, samples.numbers()).shift
    assert (shift == 0).all(dim=1).float().mean() == pytest.approx(0.2 + 0.8 / 81, abs=0.01)
    assert shift.aminmax() == (-4, 4)
    always = draw(TRANSLATED.model_copy(update={"pad_probability": 1.0}), samples.numbers()).shift
    assert (always == 0).all(dim=1).float().mean() == pytest.approx(1 / 81, abs=0.005)
