"""CLIP and SigLIP: the learned scale, frozen towers, chunks, equal captions, both towers kept."""

import math

import pytest
import torch
from torch.nn.functional import cosine_similarity

from sslcli import assemble
from sslcli.config.presets import resolve
from sslcli.data.batch import Batch, Tokens
from sslcli.engine.chunking import Chunked
from sslcli.engine.optim import build_optimizer
from sslcli.errors import ConfigError, SslError
from sslcli.methods.base import Progress
from sslcli.methods.captions import equal_share

PROGRESS = Progress(0, 10, 5)
TINY = {
    "encoder": {"name": "wrn-10-1", "norm": "none"},
    "text_encoder.name": "clip-text-1-16-2",
    "text_encoder.vocabulary": 20,
    "method.dim": 8,
}


def config_of(name="clip", **fields):
    return resolve(f"{name}/scenes-colour", None, TINY | fields).config


def method_of(name="clip", **fields):
    return assemble.build_method(config_of(name, **fields)).train()


def batch_of(count=6):
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(1, 20, (count, 5), generator=generator)
    mask = torch.arange(5) < torch.arange(count)[:, None] % 4 + 2
    views = [torch.randn(count, 3, 32, 32, generator=generator)]
    return Batch(views, torch.arange(count), texts=[Tokens(ids * mask, mask)])


def gradients(method, model, batch):
    method.zero_grad()
    output = model(batch, PROGRESS)
    output.loss.backward()
    return output, {n: p.grad.clone() for n, p in method.named_parameters() if p.grad is not None}


def test_the_loss_is_that_of_both_projections():
    method, batch = method_of().double(), batch_of()
    batch.views[0] = batch.views[0].double()
    output = method(batch, PROGRESS)
    text = batch.texts[0]
    images = method.image_projection(method.encoder(batch.views[0]))
    texts = method.text_projection(method.text_encoder(text.ids, text.mask))
    logits = cosine_similarity(images[:, None], texts[None], dim=2) / 0.07
    forth = -logits.log_softmax(dim=1).diagonal().mean()
    back = -logits.log_softmax(dim=0).diagonal().mean()
    torch.testing.assert_close(output.loss, (forth + back) / 2, rtol=1e-6, atol=1e-6)
    assert output.chance == pytest.approx(math.log(6))
    assert output.metrics["scale"].item() == pytest.approx(1 / 0.07)


@pytest.mark.parametrize(("start", "expected"), [(9.0, 100.0), (-2.0, 1.0), (2.0, math.exp(2))])
def test_the_scale_is_clamped_after_a_step_and_not_before(start, expected):
    method = method_of()
    with torch.no_grad():
        method.log_scale.fill_(start)
    _, found = gradients(method, method, batch_of())
    assert found["log_scale"].abs() > 0
    method.after_step(PROGRESS, {})
    assert method.log_scale.exp().item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", ["clip", "siglip"])
@pytest.mark.parametrize("rule", ["none", "bias-and-norm"])
def test_learned_numbers_never_decay(name, rule):
    config = config_of(name, **{"optimizer.exclude_from_decay": rule})
    method = assemble.build_method(config)
    groups = build_optimizer(method.param_groups(), config.optimizer, 8).param_groups
    numbers = [method.log_scale, *([method.bias] if name == "siglip" else [])]
    for number in numbers:
        (own,) = (group for group in groups if any(number is each for each in group["params"]))
        assert own["weight_decay"] == 0
    weights = method.text_projection.weight
    (own,) = (group for group in groups if any(weights is each for each in group["params"]))
    assert own["weight_decay"] == config.optimizer.weight_decay > 0


@pytest.mark.parametrize("name", ["clip", "siglip"])
def test_chunks_have_the_gradient_of_the_whole_batch(name):
    method, batch = method_of(name).double(), batch_of()
    batch.views[0] = batch.views[0].double()
    whole, expected = gradients(method, method, batch)
    parts, found = gradients(method, Chunked(method, 2), batch)
    torch.testing.assert_close(parts.loss, whole.loss)
    assert found.keys() == expected.keys() == dict(method.named_parameters()).keys()
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value)


@pytest.mark.parametrize("tower", ["image", "text"])
def test_a_frozen_tower_keeps_its_weights_and_its_mode(tower):
    method = method_of(**{"method.freeze": tower})
    frozen, free = method.encoder, method.text_encoder
    if tower == "text":
        frozen, free = free, frozen
    _, found = gradients(method, method, batch_of())
    assert not frozen.training
    assert free.training
    assert not any(each.requires_grad for each in frozen.parameters())
    assert {name.split(".")[0] for name in found} >= {"image_projection", "text_projection"}
    assert all(each.grad is not None for each in free.parameters() if each.ndim > 1)


def test_siglip_starts_where_its_paper_does():
    method = method_of("siglip")
    output = method(batch_of(), PROGRESS)
    assert output.metrics["scale"].item() == pytest.approx(10.0)
    assert method.bias.item() == -10.0
    assert output.chance is None


def test_towers_give_vectors_of_one_space():
    method, batch = method_of().eval(), batch_of()
    towers, text = method.towers(), batch.texts[0]
    images, texts = towers["image"](batch.views[0]), towers["text"](text.ids, text.mask)
    assert images.shape == texts.shape == (6, 8)
    assert {towers[name].feature_dim for name in towers} == {8}
    whole = method.embed(batch)
    torch.testing.assert_close((images, texts), whole)


def test_equal_captions_are_counted_whatever_their_padding():
    ids = torch.tensor([[3, 4, 0], [3, 4, 5], [3, 4, 0], [7, 0, 0], [3, 4, 5]])
    mask = ids > 0
    assert equal_share(Tokens(ids, mask)).item() == pytest.approx(4 / 5)
    assert equal_share(Tokens(ids[[0, 1, 3]], mask[[0, 1, 3]])).item() == 0
    assert equal_share(Tokens(ids[:1], mask[:1])).item() == 0


def test_zero_is_a_token_and_no_padding():
    ids = torch.tensor([[0, 0], [0, 0], [0, 0]])
    mask = torch.tensor([[True, True], [True, False], [True, True]])
    assert equal_share(Tokens(ids, mask)).item() == pytest.approx(2 / 3)


def test_a_pool_that_projects_needs_no_projection():
    fields = {"encoder": {"name": "clip-resnet50", "width": 4}, "method.project_image": False}
    method = method_of(**fields, **{"method.dim": 64})
    assert [name for name in method.state_dict() if name.startswith("image_projection")] == []
    with pytest.raises(ConfigError, match=r"gives 64 entries, and method\.dim is 8"):
        method_of(**fields)


def test_a_method_of_two_towers_needs_both():
    with pytest.raises(ConfigError, match="clip needs a text_encoder"):
        config_of(text_encoder=None)
    with pytest.raises(ConfigError, match="reads images, and text_encoder is to read sentences"):
        method_of(text_encoder={"name": "resnet8"})


@pytest.mark.parametrize(
    ("encoder", "field"),
    [
        ({"name": "clip-text-1-16-3"}, "name"),
        ({"name": "clip-texts-1-16-2"}, "name"),
        ({"name": "clip-text-1-16-2", "patch_size": 4}, "patch_size"),
        ({"name": "clip-text-1-16-2", "weights": "gone.pt"}, ""),
    ],
)
def test_a_fault_of_the_encoder_of_texts_names_its_own_section(encoder, field):
    with pytest.raises(SslError) as caught:
        assemble.build_method(
            config_of(text_encoder={"vocabulary": 20, **encoder}), load_start=True
        )
    assert caught.value.where == (f"text_encoder.{field}" if field else "gone.pt")
    told = f"{caught.value.what} {caught.value.hint}".replace("text_encoder.", "")
    assert "encoder." not in told
