"""AMDIM against its paper's code: what is compared, what is drawn, and who learns from labels."""

import math
import re

import pytest
import torch
from torch.nn import functional

from sslcli.config.encoder import EncoderConfig
from sslcli.config.families import check_encoder
from sslcli.config.methods.local import AMDIMConfig
from sslcli.config.presets import resolve
from sslcli.config.section import DataFacts
from sslcli.data.batch import Batch
from sslcli.data.counter import uniform
from sslcli.engine.chunking import Chunked
from sslcli.errors import ConfigError
from sslcli.losses.amdim import amdim
from sslcli.methods.amdim import AMDIM
from sslcli.methods.base import Progress
from sslcli.nn.encoders import build_encoder

PROGRESS = Progress(step=5, total_steps=10, steps_per_epoch=5, seed=3)
ONLINE = {"hidden": 8, "dropout": 0.2, "clip": 10.0, "penalty": 1e-3}


def make(encoder=None, **fields):
    torch.manual_seed(0)
    network = build_encoder(
        EncoderConfig(**(encoder or {"name": "amdim-8-1", "width": 2, "norm": "none"})), 32
    )
    return AMDIM(AMDIMConfig(name="amdim", clip=20.0, penalty=0.05, **fields), network)


def batch(size=6, labels=None):
    generator = torch.Generator().manual_seed(1)
    views = [torch.randn(size, 3, 32, 32, generator=generator) for _ in range(2)]
    return Batch(views, torch.arange(size), labels)


def gradients(method):
    return {name: p.grad for name, p in method.named_parameters() if p.grad is not None}


def test_the_loss_compares_both_views_as_each_passes_by_itself():
    method, one = make(), batch()
    first, second = (method.encoder.network(view) for view in one.views)
    expected = amdim(first, second, method.picks(one, PROGRESS))
    output = method(one, PROGRESS)
    torch.testing.assert_close(output.loss, expected)
    torch.testing.assert_close(output.metrics["contrast_loss"], expected.detach())
    assert output.chance == pytest.approx(2 * math.log(1 + 5 * 25) + math.log(1 + 5 * 49))


def test_places_are_drawn_evenly_and_anew_for_each_step_row_view_and_seed():
    method, many = make(), Batch([], torch.arange(5_000))
    first, second = method.picks(many, PROGRESS)
    counts = torch.stack([first, second]).flatten().bincount(minlength=25)
    assert len(counts) == 25
    assert (counts - 400).abs().max() < 100  # five deviations of 20
    others = [Progress(6, 10, 5, seed=3), Progress(5, 10, 5, seed=4)]
    views = (25 * uniform(3, 5, many.rows, 0, 0, 1)[:, 0]).long()  # the crops' first draw
    for other in (second, views, *(method.picks(many, progress)[0] for progress in others)):
        assert (first == other).float().mean() == pytest.approx(1 / 25, abs=0.015)


def test_places_depend_on_nothing_but_them():
    method, rows = make(), torch.arange(8)
    whole = method.picks(Batch([], rows), PROGRESS)
    torch.randn(3)
    for half in (slice(0, 4), slice(4, 8)):
        found = method.picks(Batch([], rows[half]), PROGRESS)
        assert all(torch.equal(a, b[half]) for a, b in zip(found, whole, strict=True))


def test_classifiers_learn_from_labels_and_the_encoder_does_not():
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    with_them, without = make(online=ONLINE, online_classes=3), make()
    learned, plain = (m(batch(labels=labels), PROGRESS) for m in (with_them, without))
    learned.loss.backward()
    plain.loss.backward()
    ours, theirs = gradients(with_them), gradients(without)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    added = ours.keys() - theirs.keys()
    assert added == {name for name, _ in with_them.named_parameters() if name.startswith("online")}
    assert learned.metrics.keys() - plain.metrics.keys() == {
        "online_linear_top1",
        "online_mlp_top1",
    }
    assert learned.chance - plain.chance == pytest.approx(2 * math.log(3))


def test_both_views_teach_the_classifiers_by_clipped_logits():
    method = make(online=ONLINE | {"dropout": 0.0}, online_classes=3)
    one = batch(labels=torch.tensor([0, 1, 2, 0, 1, 2]))
    r1 = torch.cat([method.encoder(view) for view in one.views])
    expected, right = method(one, PROGRESS).metrics["contrast_loss"], {}
    for name, classifier in method.online.items():
        logits = classifier(r1)
        loss = functional.cross_entropy(10 * torch.tanh(logits / 10), one.labels.repeat(2))
        expected = expected + loss + 1e-3 * logits.square().mean()
        right[name] = (logits.argmax(1) == one.labels.repeat(2)).float().mean()
    output = method(one, PROGRESS)
    torch.testing.assert_close(output.loss, expected)
    assert all(output.metrics[f"online_{name}_top1"] == right[name] for name in right)


def test_rows_without_a_label_teach_nothing():
    method = make(online=ONLINE | {"dropout": 0.0}, online_classes=3)
    labels = torch.tensor([0, -1, 2, -1, 1, -1])
    output = method(batch(labels=labels), PROGRESS)
    assert output.loss.isfinite()
    nobody = method(batch(labels=torch.full((6,), -1)), PROGRESS)
    assert nobody.loss.isfinite()
    assert nobody.metrics["online_linear_top1"] == 0


def test_the_mlp_is_the_codes():
    layers = make(online={**ONLINE, "hidden": 1024}, online_classes=10).online["mlp"]
    names = [type(layer).__name__ for layer in layers]
    assert names == ["Dropout", "Linear", "BatchNorm1d", "ReLU", "Dropout", "Linear"]
    assert layers[0].p == layers[4].p == 0.2
    assert layers[1].bias is None
    assert layers[1].out_features == 1024


@pytest.mark.parametrize(
    ("classes", "count", "told"),
    [
        (("a", "b", "c"), 3, "two online classifiers learn the 3 classes"),
        ((), None, "no online classifiers"),
        (("a",), None, "no online classifiers"),
    ],
)
def test_the_data_says_whether_there_are_classifiers(classes, count, told):
    section = AMDIMConfig(name="amdim", clip=20.0, penalty=0.05, online=ONLINE)
    section = section.complete(DataFacts("photos", 10, classes))
    assert section.online_classes == count
    with pytest.raises(ConfigError, match=r"photos has \d classes, not 7"):
        section.model_copy(update={"online_classes": 7}).complete(DataFacts("photos", 10, classes))
    assert told in section.remarks()[0]
    assert len(make(**section.model_dump(exclude={"name", "clip", "penalty"})).online) == (
        2 if count else 0
    )


@pytest.mark.parametrize(
    ("terms", "frozen"),
    [(("1->7",), {"head_5"}), (("1->1",), {"head_5", "head_7"}), (("1->5", "5->5"), {"head_7"})],
)
def test_a_head_that_no_term_reads_is_frozen(terms, frozen):
    method = make(terms=terms)
    method(batch(), PROGRESS).loss.backward()
    still = {n for n, p in method.encoder.network.named_parameters() if p.grad is None}
    assert {name.split(".")[0] for name in still} == frozen
    assert all(p.grad is not None for p in method.parameters() if p.requires_grad)


def test_chunks_have_the_gradient_of_the_whole_but_for_batch_norms_statistics():
    found = []
    for wrap in (lambda method: method, lambda method: Chunked(method, 2)):
        method = make(online=ONLINE, online_classes=3).double().eval()
        one = batch(labels=torch.tensor([0, 1, 2, 0, 1, 2]))
        one.views[:] = [view.double() for view in one.views]
        wrap(method)(one, PROGRESS).loss.backward()
        found.append(gradients(method))
    whole, chunked = found
    assert whole.keys() == chunked.keys()
    for name, value in whole.items():
        torch.testing.assert_close(chunked[name], value, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", ["resnet8", "exemplar-small"])
def test_another_network_is_refused(name):
    with pytest.raises(ConfigError, match="features that see a window") as caught:
        make({"name": name})
    assert caught.value.where == "encoder.name"
    assert "amdim-1024-3" in caught.value.hint


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"encoder.name": "resnet8"}, r'resnet8 has none.* such as "amdim-1024-3"'),
        ({"views.0.size": 24}, "32, 64 or 128 pixels, all alike: views.size is 24"),
        ({"method.terms": ["1->5", "1->5"]}, "repeats a term"),
        ({"method.terms": ["7->7"]}, "terms"),
        ({"encoder.width": 64}, "amdim-256-1, or set encoder.width to 16 or less"),
        ({"encoder.norm": "layer"}, 'set it to "none"'),
        ({"data.image_size": 48}, "use 32, 64 or 128"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_would(fields, told):
    def resolved():
        config = resolve("amdim/digits", None, fields).config
        check_encoder(config.encoder, config.data.image_size)

    with pytest.raises(ConfigError) as caught:
        resolved()
    said = " ".join(f"{fault.what} {fault.hint}" for fault in caught.value.faults())
    assert re.search(told, said)
