"""Evaluations, features and exports from the command line."""

import json
import shutil
from itertools import chain

import numpy as np
import pytest
import torch
from PIL import Image

from sslcli.cli.export import export
from sslcli.engine.checkpoint import load_checkpoint
from sslcli.formats import FORMATS


def test_knn_eval_prints_one_json_object_and_appends_its_result(ssl, trained, tmp_path):
    file = shutil.copy(trained / "checkpoint.safetensors", tmp_path)
    outcome = ssl("knn-eval", file, "--json", "--baseline", "--require", "top1>=0.5")
    assert outcome.code == 0
    assert outcome.json["metrics"]["n"] == 355
    assert {"top1_untrained", "top1_pixels"} <= outcome.json["metrics"].keys()
    (line,) = (tmp_path / "results.jsonl").read_text().splitlines()
    assert json.loads(line)["metrics"] == outcome.json["metrics"]


def test_what_training_has_added_is_said_in_words(ssl, trained):
    outcome = ssl("linear-eval", trained, "--baseline", "--json")
    found = outcome.json["metrics"]
    assert 0.9 < found["top1_pixels"] < 1
    shares = (f"{found[name]:.1%}" for name in ("top1", "top1_untrained", "top1_pixels"))
    said = "{} of the 355 test images recognised; before training {}; raw pixels {}"
    assert said.format(*shares) in outcome.err


def test_geometry_is_measured_on_two_views(ssl, trained):
    metrics = ssl("knn-eval", trained, "--geometry", "--json").json["metrics"]
    assert 0 < metrics["alignment"] < 4
    assert -8 < metrics["uniformity"] < 0
    assert 1 < metrics["effective_rank"] <= 128


def test_a_requirement_not_met_exits_5_and_still_reports(ssl, trained):
    outcome = ssl("knn-eval", trained, "--require", "top1>=0.999", "--json")
    assert outcome.code == 5
    assert outcome.json["metrics"]["top1"] < 0.999
    assert "top1" in outcome.err


def test_a_plain_result_is_tab_separated_and_quiet_means_quiet(ssl, trained):
    outcome = ssl("knn-eval", trained, "--quiet")
    assert outcome.err == ""
    assert outcome.out.splitlines()[0] == "metric\tvalue"


def test_results_that_cannot_be_kept_are_printed_all_the_same(ssl, trained, tmp_path):
    shutil.copy(trained / "checkpoint.safetensors", tmp_path)
    (tmp_path / "results.jsonl").mkdir()
    outcome = ssl("knn-eval", tmp_path, "--json")
    assert outcome.code == 0
    assert outcome.json["metrics"]["n"] == 355
    assert "warning: " in outcome.err


def test_linear_eval_over_seeds_tells_the_deviation(ssl, trained):
    outcome = ssl("linear-eval", trained, "--seeds", "0-1", "--json", "--quiet")
    assert outcome.code == 0
    assert outcome.json["over_seeds"]["top1"]["n"] == 2
    assert outcome.json["metrics"]["top1_deviation"] >= 0


def test_each_class_and_few_labels_are_measured(ssl, trained, tmp_path):
    shutil.copy(trained / "checkpoint.safetensors", tmp_path)
    for command in ("knn-eval", "linear-eval"):
        words = ("--shots", "5,1", "--draws", 2, "--confusion", "--require", "top1/5-shot>=0.3")
        found = ssl(command, tmp_path, *words, "--json").json
        metrics, counts = found["metrics"], np.array(found["confusion"]["counts"])
        assert metrics["top1/1-shot"] < metrics["top1/5-shot"] < metrics["top1"]
        low, high = found["intervals"]["top1/5-shot"]
        assert (low + high) / 2 == pytest.approx(metrics["top1/5-shot"])
        own = counts.diagonal() / counts.sum(axis=1)
        assert list(found["per_class"].values()) == pytest.approx(own.tolist())
        assert metrics["mean_per_class"] == pytest.approx(own.mean())
        with Image.open(found["figures"][0]) as figure:
            assert figure.format == "PNG"


def test_shots_beyond_the_smallest_class_are_refused_with_its_size(ssl, trained, photos):
    outcome = ssl("knn-eval", trained, "--data", photos, "--shots", "1,11")
    assert outcome.code == 2
    assert "at most 10: the smallest class, " in outcome.err
    for words in (("--shots", "0"), ("--protocol", "paper", "--shots", 1)):
        assert ssl("linear-eval", trained, *words).code == 2


def test_a_table_of_the_classes_is_printed_on_demand(ssl, trained):
    plain, longer = (
        ssl("knn-eval", trained, *words, "--quiet").out for words in ((), ("--per-class",))
    )
    assert longer.endswith(plain)
    assert longer.splitlines()[0] == "class\ttop1"
    assert len(longer.splitlines()) == len(plain.splitlines()) + 11


def probe(ssl, trained, folder, rate):
    """Run the papers' probe at a rate, in steps that see all digits."""
    fields = {"optimizer.base_lr": rate, "duration": '"20 epochs"', "batch_size": 1442}
    recipe = [("--set", f"evaluation.linear.{name}={value}") for name, value in fields.items()]
    shutil.copy(trained / "checkpoint.safetensors", folder)
    words = ("--protocol", "paper", "--precision", "fp32", *chain(*recipe), "--set")
    return ssl("linear-eval", folder, *words, 'train.log_every="1 steps"')


def test_several_rates_are_trained_at_once_and_held_out_training_images_choose(
    ssl, trained, tmp_path
):
    shutil.copy(trained / "checkpoint.safetensors", tmp_path)
    recipe = {"duration": '"6 epochs"', "batch_size": 256, "optimizer.lr_scaling": '"none"'}
    fields = [("--set", f"evaluation.linear.{name}={value}") for name, value in recipe.items()]
    words = ("--protocol", "paper", "--rates", "1e-4,0.3", *chain(*fields))
    outcome = ssl("linear-eval", tmp_path, *words, "--require", "rate==0.3", "--json")
    assert outcome.code == 0, outcome.err
    found = outcome.json
    slow, quick = found["rates"]
    assert (slow["rate"], quick["rate"]) == (1e-4, 0.3)
    assert slow["held_out"] < quick["held_out"]
    assert found["metrics"]["top1"] == quick["top1"]
    assert "the best of 2 on 143 held-out training samples" in found["protocol"]
    probe = load_checkpoint(tmp_path / "linear-probe")
    assert torch.equal(probe.tensors("classifier.")["weight"], probe.tensors("others.0.")["weight"])
    again = ssl("calibrate", tmp_path / "linear-probe", "--method", "none", "--json").json
    assert again["metrics"]["top1"] == pytest.approx(quick["top1"], abs=0.01)
    resumed = ssl("linear-eval", tmp_path, *words, "--resume", "--json").json
    assert resumed["rates"] == found["rates"]


def test_rates_are_for_the_papers_protocol_and_above_nothing(ssl, trained):
    assert "--protocol" in ssl("linear-eval", trained, "--rates", "0.1").err
    outcome = ssl("linear-eval", trained, "--protocol", "paper", "--rates", "0.1,-1")
    assert (outcome.code, "'-1' is no rate" in outcome.err) == (2, True)


def test_the_head_is_read_out_on_demand_and_an_export_says_that_it_is_not(ssl, trained, tmp_path):
    shutil.copy(trained / "checkpoint.safetensors", tmp_path)
    plain = ssl("knn-eval", tmp_path, "--json").json["metrics"]
    for command in ("knn-eval", "linear-eval"):
        outcome = ssl(command, tmp_path, "--layers", "head", "--baseline", "--json")
        assert outcome.json["metrics"]["top1"] != plain["top1"]
        assert "features: head" in outcome.err
    outcome = ssl("linear-eval", tmp_path, "--layers", "head", "--protocol", "paper")
    assert (outcome.code, "--protocol features, or --layers encoder" in outcome.err) == (2, True)
    outcome = ssl("knn-eval", tmp_path, "--layers", "last-4")
    assert outcome.code == 2
    assert "hint: it has encoder, head" in outcome.err or "hint: it has encoder" in outcome.err
    assert ssl("knn-eval", tmp_path, "--layers", "first-4").code == 2


def test_a_probe_whose_loss_starts_high_is_trained_to_its_end(ssl, trained, tmp_path):
    outcome = probe(ssl, trained, tmp_path, 30)
    rows = (tmp_path / "linear-probe" / "metrics.jsonl").read_text().splitlines()
    losses = [json.loads(row)["loss"] for row in rows]
    assert max(losses) > 12 * losses[0]
    assert outcome.code == 0


def test_a_probe_that_fails_names_the_fields_of_its_recipe(ssl, trained, tmp_path):
    outcome = probe(ssl, trained, tmp_path, 1e30)
    assert outcome.code == 6
    assert "lower evaluation.linear.optimizer.base_lr" in outcome.err
    outcome = ssl("finetune", trained, "--set", 'evaluation.finetune.schedule.warmup="40 epochs"')
    assert "where: evaluation.finetune.schedule.warmup" in outcome.err


def test_other_data_brings_its_own_classes(ssl, trained, photos):
    outcome = ssl("knn-eval", trained, "--data", photos, "--k", 3, "--json")
    assert outcome.code == 0
    assert outcome.json["data"]["train"].startswith(str(photos))


def test_a_preset_s_k_ends_at_the_training_images_and_a_given_one_is_refused(ssl, trained, photos):
    words = ("knn-eval", trained, "--data", photos)
    outcome = ssl(*words, "--set", "evaluation.k=200", "--json")
    assert outcome.code == 0
    assert "k is 20, all training images there are; the preset has 200" in outcome.err
    assert "k=20," in outcome.json["protocol"]
    assert ssl(*words, "--k", 200).code == 2


def test_a_dry_run_measures_nothing(ssl, trained):
    for words in (["knn-eval"], ["linear-eval", "--protocol", "paper"], ["finetune"], ["export"]):
        outcome = ssl(words[0], trained, *words[1:], "--dry-run", "--json")
        assert outcome.code == 0
        assert outcome.json["dry_run"] is True


def test_embed_writes_features_and_keeps_what_is_there(ssl, trained, photos, tmp_path):
    file = tmp_path / "new" / "f\u00e9.npz"
    words = ("embed", trained, "--data", photos, "--out", file, "--json")
    assert ssl(*words).json["arrays"]["features"] == "24x128"
    with np.load(file) as arrays:
        assert list(arrays["class_names"]) == ["cats", "dogs"]
        assert np.isfinite(arrays["features"]).all()
    before = file.read_bytes()
    assert ssl(*words).code == 2
    assert file.read_bytes() == before
    assert ssl(*words, "--overwrite").code == 0


def test_export_writes_beside_the_checkpoint(ssl, trained, tmp_path):
    shutil.copy(trained / "checkpoint.safetensors", tmp_path)
    outcome = ssl("export", tmp_path, "--json")
    assert outcome.code == 0
    assert (tmp_path / "encoder-safetensors.safetensors").exists()
    assert ssl("export", tmp_path).code == 2


def test_who_follows_the_note_of_an_export_gets_the_features_of_embed(ssl, tmp_path):
    photos, run, features = tmp_path / "photos", tmp_path / "run", tmp_path / "f.npz"
    photos.mkdir()
    generator, turned = np.random.default_rng(0), Image.Exif()
    turned[0x0112] = 6  # the camera was held upright
    for index in range(4):
        pixels = Image.fromarray(generator.integers(0, 256, (9, 12, 3), dtype=np.uint8))
        pixels.resize((123, 80)).save(photos / f"{index}.jpg", exif=turned)
    network = ("encoder.name=resnet10", "encoder.width=64", "data.image_size=24", "data.resize=30")
    short = ('train.duration="1 steps"', "train.batch_size=4", "views.0.size=24")
    settings = [word for field in (*network, *short) for word in ("--set", field)]
    words = ("--preset", "simsiam/digits", "--data", photos, "--out", run, "--precision", "fp32")
    assert ssl("pretrain", *words, *settings).code == 0
    assert ssl("embed", run, "--data", photos, "--out", features, "--precision", "fp32").code == 0
    notes = ssl("export", run, "--format", "torchvision", "--json").json["notes"]
    scope: dict = {}
    exec("\n".join(notes).replace("photo.jpg", str(photos / "2.jpg")), scope)
    with np.load(features) as kept:
        expected = torch.from_numpy(kept["features"][2:3])
    torch.testing.assert_close(scope["features"].detach(), expected, rtol=1e-4, atol=1e-4)


def test_export_offers_every_format():

    assert set(export.__annotations__["format_"].__origin__.__args__) == set(FORMATS)


@pytest.fixture
def labelled(photos, tmp_path):
    """Return a list of six of the photos, by names and paths."""
    names = [f"{name}/{row}.png" for name in ("cats", "dogs") for row in (0, 1, 2)]
    (tmp_path / "six.txt").write_text("\n".join(names))
    return tmp_path / "six.txt"


def test_fine_tuning_learns_from_listed_images_with_decayed_rates_and_an_average(
    ssl, trained, photos, labelled, tmp_path
):
    fields = ("averaging=0.5", "layer_decay=0.7", "mixup=0.4", "cutmix=1.0", "label_smoothing=0.1")
    fields += ('duration="2 epochs"', "batch_size=3")
    settings = [word for each in fields for word in ("--set", f"evaluation.finetune.{each}")]
    words = ("--data", photos, "--test", photos, "--label-list", labelled, "--out", tmp_path / "f")
    outcome = ssl("finetune", trained, *words, *settings, "--json")
    assert outcome.code == 0, outcome.err
    assert "labels of six.txt, layer decay 0.7, mixup and cutmix" in outcome.json["protocol"]
    assert "a moving average of the weights is evaluated" in outcome.err
    assert outcome.json["per_class"].keys() == {"cats", "dogs"}
    kept = load_checkpoint(tmp_path / "f")
    assert kept.facts["data"]["images"] == 24
    average, now = (kept.tensors(name)["conv1.weight"] for name in ("encoder.", "online.0."))
    assert not torch.equal(average, now)


def test_the_recipe_of_another_preset_is_taken_and_options_win_over_it(ssl, trained, tmp_path):
    recipe = tmp_path / "mine.toml"
    recipe.write_text(
        'extends = "simsiam/digits"\n[evaluation.finetune]\nduration = "3 steps"\n'
        "batch_size = 64\nclassifier_rate = 2.0\n"
    )
    words = ("finetune", trained, "--recipe", recipe, "--label-fraction", 0.1)
    more = ("--set", "evaluation.finetune.batch_size=32", "--out", tmp_path / "f", "--json")
    outcome = ssl(*words, *more)
    assert outcome.code == 0, outcome.err
    config = load_checkpoint(tmp_path / "f").config
    assert (str(config.train.duration), config.train.batch_size) == ("3 steps", 32)
    assert config.method.classifier_rate == 2
    assert "10.00% of the labels" in outcome.json["protocol"]
    assert ssl("finetune", trained, "--recipe", "no/such").code == 2


def test_names_that_are_no_images_and_two_choices_of_labels_are_refused(
    ssl, trained, photos, labelled
):
    words = ("finetune", trained, "--data", photos, "--label-list", labelled)
    labelled.write_text("cats/0.png\nnone.png\n")
    outcome = ssl(*words)
    assert outcome.code == 3
    assert "of 2 listed names are not among" in outcome.err
    assert ssl(*words, "--label-fraction", 0.5).code == 2


def test_the_papers_linear_probe_leaves_the_encoder_bit_equal(ssl, trained, tmp_path):
    shutil.copy(trained / "checkpoint.safetensors", tmp_path)
    short = ("--set", 'evaluation.linear.duration="3 steps"')
    assert ssl("linear-eval", tmp_path, "--protocol", "paper", *short, "--quiet").code == 0
    before, after = (
        load_checkpoint(run).tensors("encoder.") for run in (tmp_path, tmp_path / "linear-probe")
    )
    assert before.keys() == after.keys()
    assert [name for name in before if not torch.equal(before[name], after[name])] == []
