"""CPC v1 and v2 against their papers' losses and ablations."""

import math

import pytest
import torch
from pydantic import ValidationError

from sslcli.config.encoder import EncoderConfig
from sslcli.config.methods.predictive import CPCV1Config, CPCV2Config
from sslcli.config.presets import resolve
from sslcli.data.batch import Batch
from sslcli.engine.chunking import Chunked
from sslcli.errors import ConfigError
from sslcli.losses.cpc import drawn_info_nce, grid_info_nce
from sslcli.methods.base import Progress
from sslcli.methods.cpc import CPCv1, CPCv2
from sslcli.nn.encoders import build_encoder

PROGRESS = Progress(step=0, total_steps=10, steps_per_epoch=5)
ENCODER = {"name": "cpc-resnet8", "width": 4, "stem": "cifar", "norm": "layer"}
ENCODER |= {"patch_size": 4, "patch_stride": 2}
V1 = {"name": "cpc-v1", "context": "gated", "offsets": (2, 3), "negatives": 5}
V2 = {"name": "cpc-v2", "context": "pixel", "hidden": 6, "blocks": 2, "offsets": (2, 3)}
V2 |= {"dim": 7, "scale": 0.1}


def made(fields, **more):
    torch.manual_seed(0)
    encoder = build_encoder(EncoderConfig(**ENCODER), 12)
    config = fields | more
    if config["name"] == "cpc-v1":
        return CPCv1(CPCV1Config(**config), encoder).double()
    return CPCv2(CPCV2Config(**config), encoder).double()


def batch(size=3):
    generator = torch.Generator().manual_seed(1)
    view = torch.randn(size, 3, 12, 12, generator=generator, dtype=torch.float64)
    return Batch([view], torch.arange(size))


@pytest.mark.parametrize("context", ["pixel", "bolts"])
def test_v2_adds_offsets_among_all_cells_of_narrow_targets(context):
    method = made(V2, context=context)
    output = method(batch(), PROGRESS)
    grid = method.encoder.grid(batch().views[0])
    context, targets = method.contexts[0](grid), method.target(grid)
    expected = sum(
        grid_info_nce(0.1 * predict(context), targets, offset)
        for offset, predict in zip((2, 3), method.predictors[0], strict=True)
    )
    torch.testing.assert_close(output.loss, expected)
    assert output.chance == pytest.approx(2 * math.log(3 * 25))


def test_v1_averages_offsets_among_drawn_cells_and_repeats_its_draws_from_the_state():
    method = made(V1)
    torch.manual_seed(5)
    output = method(batch(), PROGRESS)
    torch.manual_seed(5)
    grid = method.encoder.grid(batch().views[0])
    losses = []
    for offset, predict in zip((2, 3), method.predictors[0], strict=True):
        cells = 3 * (5 - offset) * 5
        drawn = torch.randint(cells, (cells, 5))
        losses.append(drawn_info_nce(predict(method.contexts[0](grid)), grid, drawn, offset))
    torch.testing.assert_close(output.loss, sum(losses) / 2)
    assert output.chance == pytest.approx(math.log(6))
    assert all(predict.bias is None for predict in method.predictors[0])


def test_v1_without_draws_compares_with_all_cells():
    method = made(V1, negatives=0)
    grid = method.encoder.grid(batch().views[0])
    context = method.contexts[0](grid)
    losses = [
        grid_info_nce(predict(context), grid, offset)
        for offset, predict in zip((2, 3), method.predictors[0], strict=True)
    ]
    torch.testing.assert_close(method(batch(), PROGRESS).loss, sum(losses) / 2)


def test_four_directions_are_the_mean_over_quarter_turns_of_the_grid():
    method = made(V2, directions=4, shared_context=False)
    output = method(batch(), PROGRESS)
    grid, losses = method.encoder.grid(batch().views[0]), []
    for context, predictors in zip(method.contexts, method.predictors, strict=True):
        for offset, predict in zip((2, 3), predictors, strict=True):
            found = 0.1 * predict(context(grid))
            losses.append(grid_info_nce(found, method.target(grid), offset))
        grid = grid.transpose(2, 3).flip(3)  # clockwise, as RS turns it
    torch.testing.assert_close(output.loss, sum(losses) / 4)
    assert len(made(V2, directions=4).contexts) == 1


def test_patches_that_were_cut_before_give_the_same():
    method = made(V2)
    cut = Batch([method.encoder.patches(batch().views[0])], torch.arange(3))
    torch.testing.assert_close(method(cut, PROGRESS).loss, method(batch(), PROGRESS).loss)


@pytest.mark.parametrize("fields", [V1, V2 | {"directions": 4}])
def test_chunks_give_the_loss_and_gradient_of_the_whole_batch(fields):
    whole, parts = made(fields), made(fields)
    torch.manual_seed(3)
    whole(batch(5), PROGRESS).loss.backward()
    torch.manual_seed(3)
    Chunked(parts, 2)(batch(5), PROGRESS).loss.backward()
    for (name, found), expected in zip(parts.named_parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(found.grad, expected.grad, msg=name)


def test_patches_found_are_counted():
    method = made(V2, offsets=(2,))
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.zero_()
    output = method(batch(), PROGRESS)
    assert output.loss.item() == pytest.approx(output.chance)  # all scores are equal
    assert output.metrics["patch_top1"] == 0  # the first of all is nobody's target


def test_an_encoder_of_whole_images_is_refused():
    encoder = build_encoder(EncoderConfig(name="resnet8", width=4), 12)
    with pytest.raises(ConfigError, match="sees images as a whole"):
        CPCv2(CPCV2Config(**V2), encoder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["method.offsets=[1]"], r"lie from 2, the first that shares no pixel, to 2"),
        (["method.offsets=[2, 3]"], r"lie from 2, the first that shares no pixel, to 2"),
        (["method.offsets=[3, 2]"], "offsets must rise"),
        (["views.0.size=9"], "8 or 10 would do"),
        (["encoder.patch_stride=3"], "7 or 10 would do"),
        (["encoder.patch_size=6"], "need views of 12 at least"),
        (["views.0.patches={grid=2, side=4}"], "patches of 4 pixels every 4, and the encoder's"),
    ],
)
def test_grids_that_do_not_fit_are_refused_with_what_would(changes, message):
    with pytest.raises((ConfigError, ValidationError), match=message):
        resolve("cpc-v2/digits", None, {}, changes)


@pytest.mark.parametrize(("side", "stride", "clean"), [(16, 8, 2), (80, 36, 3), (12, 4, 3)])
def test_the_least_offset_that_is_taken_shares_no_pixel_with_its_target(side, stride, clean):
    config, (view,) = CPCV2Config(**V2), resolve("cpc-v2/digits").config.views
    view = view.model_copy(update={"size": side + 5 * stride})
    encoder = EncoderConfig(name="cpc-resnet14", patch_size=side, patch_stride=stride)
    own = set(range(side))
    for offset in (clean - 1, clean):
        target = range(offset * stride, offset * stride + side)
        asked = config.model_copy(update={"offsets": (offset,)})
        if own.isdisjoint(target):
            asked.check_views([view], encoder)
        else:
            with pytest.raises(ValueError, match=f"lie from {clean}"):
                asked.check_views([view], encoder)


def test_the_first_clean_offset_follows_from_patch_and_stride():
    """80 pixels every 36 (v2's): the second row below begins at 72, within the patch."""
    config = CPCV2Config(**V2)
    encoder = EncoderConfig(name="cpc-resnet161", patch_size=80, patch_stride=36)
    (view,) = resolve("cpc-v2/digits").config.views
    view = view.model_copy(update={"size": 260})
    with pytest.raises(ValueError, match=r"lie from 3, .* to 5"):
        config.check_views([view], encoder)
    config.model_copy(update={"offsets": (3, 4, 5)}).check_views([view], encoder)
