"""Both towers of CLIP, written for transformers and read from other codes' files."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import sslcli
from sslcli import assemble
from sslcli.errors import CheckpointError, UsageError

QUICK = {"encoder.gelu": "quick", "text_encoder.gelu": "quick"}
# no tensor shows the heads, and those of the test are narrower than the official code's
TWO_HEADS = {"encoder.name": "clip-vit-1-16-2", "text_encoder.name": "clip-text-1-16-2"}


def as_open_clip(run):
    """Return the tensors of a run as open_clip names and turns them."""
    named = {}
    for name, tensor in load_file(run / "checkpoint.safetensors").items():
        if name == "image_projection.weight":
            named["visual.proj"] = tensor.T.contiguous()
        elif name == "text_projection.weight":
            named["text_projection"] = tensor.T.contiguous()
        elif name.startswith("encoder."):
            named["visual." + name.removeprefix("encoder.")] = tensor
        else:
            named[name.removeprefix("text_encoder.").replace("log_scale", "logit_scale")] = tensor
    return named


def written(folder, run, **more):
    """Write a file in open_clip's layout with the run's tokenizer beside it."""
    folder.mkdir()
    save_file(as_open_clip(run) | more, folder / "x.safetensors")
    (folder / "tokenizer.json").write_text((run / "tokenizer.json").read_text())
    return folder / "x.safetensors"


@pytest.fixture(scope="module")
def exported(two_towers, tmp_path_factory):
    """Return the folder that transformers loads, and the report."""
    out = tmp_path_factory.mktemp("hf") / "clip"
    return out, sslcli.export(two_towers, format="hf", out=out)


def test_transformers_gives_the_features_of_both_towers(exported, two_towers):
    from transformers import CLIPModel, CLIPProcessor

    folder, report = exported
    assert report.max_abs_error <= report.tolerance
    run = sslcli.load(two_towers)
    model, processor = CLIPModel.from_pretrained(folder), CLIPProcessor.from_pretrained(folder)
    images = [Image.fromarray(run.splits.test.load(row)) for row in range(2)]
    texts = ["a red picture", "blue"]
    inputs = processor(images=images, text=texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        found = model(**inputs)
    tokens = assemble.text_views(run.config).tokenizer.encode(texts, 7)
    assert inputs["input_ids"].equal(tokens.ids)
    seen = run.features(run.splits.test, run.tower("image"), reads="image").features[:2]
    read = run.tower("text")(tokens.ids, tokens.mask).detach()
    unit = torch.nn.functional.normalize
    torch.testing.assert_close(found.image_embeds, unit(seen), atol=1e-4, rtol=0)
    torch.testing.assert_close(found.text_embeds, unit(read), atol=1e-4, rtol=0)
    logits = run.method.scoring[0] * unit(seen) @ unit(read).T
    torch.testing.assert_close(found.logits_per_image, logits, atol=1e-3, rtol=0)


def test_the_folder_comes_back_as_the_same_run(exported, two_towers, captioned, tmp_path):
    again = sslcli.import_weights(exported[0], out=tmp_path / "run")
    assert (again.encoder, again.text_encoder) == ("clip-vit-1-16-2", "clip-text-1-16-2")
    assert again.left_out == ()
    ours, theirs = (sslcli.load(each, data=str(captioned)) for each in (two_towers, again.run))
    assert theirs.config.data.pixels == ours.config.data.pixels
    weights = theirs.method.state_dict()
    for name, tensor in ours.method.state_dict().items():
        torch.testing.assert_close(weights[name], tensor)
    found = [sslcli.zero_shot_eval(each, prompts="a {} picture") for each in (ours, theirs)]
    assert found[0].confusion.equal(found[1].confusion)
    assert found[0].n == 4
    assert sslcli.retrieval_eval(theirs).metrics() == sslcli.retrieval_eval(ours).metrics()
    assert sslcli.embed(theirs, out=None, tower="text").features.shape == (8, 6)


@pytest.mark.parametrize("what", ["resnet", "siglip", "bytes"])
def test_what_clipmodel_is_not_is_refused(what, clip_run, captioned, tmp_path):
    fields = {
        "resnet": {"encoder.name": "resnet8", "encoder.patch_size": None, "encoder.width": 4},
        "siglip": {"method": {"name": "siglip", "dim": 6, "scale": 10.0, "bias": -10.0}},
        "bytes": {"tokenizer": None, "text_encoder.vocabulary": None},
    }[what]
    if what == "resnet":
        fields |= {"encoder.stem": "imagenet"}
    run = clip_run(tmp_path / "run", captioned, **fields)
    told = {"resnet": "no resnet8", "siglip": "adds nothing", "bytes": "a special one"}[what]
    with pytest.raises(UsageError, match=told) as caught:
        sslcli.export(run, format="hf", out=tmp_path / "out")
    assert caught.value.where == "format"
    assert not (tmp_path / "out").exists()


def test_open_clips_state_dict_becomes_a_run(two_towers, captioned, told, tmp_path):
    names = as_open_clip(two_towers) | {"attn_mask": torch.zeros(7, 7)}
    whole = {f"module.{name}": tensor for name, tensor in names.items()}
    file = written(tmp_path / "theirs", two_towers).with_name("epoch_3.pt")
    torch.save({"epoch": 3, "name": "x", "state_dict": whole}, file)
    found = sslcli.import_weights(
        file, out=tmp_path / "run", overrides=QUICK | TWO_HEADS, listener=told
    )
    assert found.left_out == ("state_dict.module.attn_mask",)
    assert (found.prefix, found.origin) == ("state_dict.module.", "open_clip")
    assert any("no tensor shows the GELU" in note for note in told.notes)
    run = sslcli.load(found.run, data=str(captioned))
    assert run.config.data.image_size == 8
    for name, tensor in load_file(two_towers / "checkpoint.safetensors").items():
        assert run.method.state_dict()[name].equal(tensor), name
    ours = sslcli.zero_shot_eval(two_towers, prompts="a {} picture")
    theirs = sslcli.zero_shot_eval(run, prompts="a {} picture")
    assert theirs.confusion.equal(ours.confusion)
    assert sslcli.knn_eval(run, tower="text", k=2).top1 == 1.0
    assert sslcli.export(run, tower="image").reads == "image"


def test_openais_numbers_tell_its_gelu(two_towers, tmp_path):
    numbers = ("input_resolution", "context_length", "vocab_size")
    more = {name: torch.tensor(7) for name in numbers}
    found = sslcli.import_weights(
        written(tmp_path / "theirs", two_towers, **more), out=tmp_path / "x"
    )
    config = sslcli.load(found.run).config
    assert (config.encoder.gelu, config.text_encoder.gelu) == ("quick", "quick")
    assert config.encoder.name == "clip-vit-1-16-1"


def test_a_learned_bias_makes_it_siglip(two_towers, tmp_path):
    file = written(tmp_path / "theirs", two_towers, logit_bias=torch.tensor([-9.5]))
    found = sslcli.import_weights(file, out=tmp_path / "run")
    assert sslcli.load(found.run).method.scoring[1] == -9.5


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"visual.ln_pre.bias": None}, "1 tensors of the towers are missing: .*ln_pre.bias"),
        ({"visual.attn_pool.query": torch.ones(2)}, "that ours lack: visual.attn_pool.query"),
        ({"visual.proj": torch.ones(3, 6)}, "do not fit"),
        ({"token_embedding.weight": torch.ones(5, 16)}, "the tokenizer has 9 numbers"),
    ],
)
def test_what_does_not_fit_is_told(change, told, two_towers, tmp_path):
    names = as_open_clip(two_towers) | change
    save_file({n: x for n, x in names.items() if x is not None}, tmp_path / "x.safetensors")
    (tmp_path / "tokenizer.json").write_text((two_towers / "tokenizer.json").read_text())
    with pytest.raises(sslcli.SslError, match=told):
        sslcli.import_weights(tmp_path / "x.safetensors", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_words_need_a_tokenizer_which_may_be_named(two_towers, tmp_path):
    save_file(as_open_clip(two_towers), tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match="no tokenizer lies beside"):
        sslcli.import_weights(tmp_path / "x.safetensors", out=tmp_path / "run")
    named = {"tokenizer": {"kind": "file", "file": str(two_towers / "tokenizer.json")}}
    found = sslcli.import_weights(tmp_path / "x.safetensors", out=tmp_path / "run", overrides=named)
    ours = sslcli.load(two_towers).config.tokenizer.digest
    assert sslcli.load(found.run).config.tokenizer.digest == ours


def test_one_tower_starts_another_training(two_towers, tmp_path):
    file = written(tmp_path / "theirs", two_towers)
    config = sslcli.load(two_towers).config
    for field in ("encoder", "text_encoder"):
        encoder = getattr(config, field).model_copy(update={"weights": str(file)})
        started = config.model_copy(update={field: encoder})
        method = assemble.build_method(started, load_start=True)
        name = f"{field}.transformer.resblocks.0.ln_1.weight"
        theirs = load_file(two_towers / "checkpoint.safetensors")
        assert method.state_dict()[name].equal(theirs[name])


OURS = {"vit": {"width": 64, "patch_size": 8}, "resnet": {"layers": (3, 4, 6, 3), "width": 4}}


@pytest.mark.parametrize("kind", OURS)
def test_an_open_clip_model_gives_its_own_features(kind, two_towers, tmp_path):
    model = pytest.importorskip("open_clip.model")
    torch.manual_seed(0)
    image = {"layers": 2, "image_size": 32, "head_width": 64, **OURS[kind]}
    text = {"context_length": 7, "vocab_size": 9, "width": 64, "heads": 1, "layers": 2}
    theirs = model.CLIP(12, image, text).eval()
    state = {name: x.contiguous() for name, x in theirs.state_dict().items()}
    save_file(state, tmp_path / "x.safetensors")
    (tmp_path / "tokenizer.json").write_text((two_towers / "tokenizer.json").read_text())
    run = sslcli.import_weights(tmp_path / "x.safetensors", out=tmp_path / "run").run
    opened = sslcli.load(run)
    images, ids = torch.randn(2, 3, 32, 32), torch.tensor([[1, 5, 7, 8, 0, 0, 0]])
    with torch.no_grad():
        found = opened.tower("image")(images), opened.tower("text")(ids[:, :4], ids[:, :4] > 0)
        expected = theirs.encode_image(images), theirs.encode_text(ids)
    torch.testing.assert_close(found[0], expected[0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found[1], expected[1], atol=1e-5, rtol=1e-4)


def test_a_resnet_of_clip_has_no_second_projection(clip_run, captioned, tmp_path):
    fields = {
        "method.project_image": False, "encoder.name": "clip-resnet50", "encoder.width": 2,
        "encoder.outputs": 6, "encoder.patch_size": None, "data.image_size": 32,
        "data.resize": 32, "views.0.size": 32,
    }  # fmt: skip
    ours = clip_run(tmp_path / "ours", captioned, **fields)
    found = sslcli.import_weights(written(tmp_path / "theirs", ours), out=tmp_path / "run")
    config = sslcli.load(found.run).config
    assert (config.encoder.name, config.encoder.width) == ("clip-resnet50", 2)
    assert (config.preset, config.method.project_image) == ("clip/resnet50", False)
    images = torch.randn(2, 3, 32, 32)
    vectors = [sslcli.load(each).tower("image")(images) for each in (ours, found.run)]
    assert vectors[0].equal(vectors[1])
    assert json.loads((found.run / "tokenizer.json").read_text())
    assert np.isfinite(vectors[0].detach().numpy()).all()
