"""Toy methods of texts, and of images with texts, go wherever a method of images goes."""

import re
import sys
import tomllib
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_contract import StopAfter
from test_ranks import assert_close
from torch.utils.flop_counter import FlopCounterMode

from sslcli import assemble
from sslcli.cli.reports.cost import show_estimate
from sslcli.cli.show import Show
from sslcli.config import families
from sslcli.config.presets import resolve, to_toml
from sslcli.data.sources.open import open_source
from sslcli.data.text.tokenizer import ByteTokenizer
from sslcli.distributed import collective
from sslcli.engine.log import Log
from sslcli.engine.loop import steps, train_step
from sslcli.engine.stop import Stop
from sslcli.engine.trainer import resume, train
from sslcli.errors import ConfigError, DataError, StoppedError, UsageError
from sslcli.listener import Quiet, SilentWatcher
from sslcli.methods import custom
from sslcli.methods.custom import completed, name_code
from sslcli.profile.cost import estimate
from sslcli.profile.phases import time_phases
from sslcli.workflows.embed import embed
from sslcli.workflows.export import export
from sslcli.workflows.fit import Room, look
from sslcli.workflows.knn_eval import knn_eval, vote
from sslcli.workflows.linear_eval import linear_eval
from sslcli.workflows.look_alikes import look_alikes
from sslcli.workflows.neighbours import neighbours
from sslcli.workflows.ood_detect import ood_detect
from sslcli.workflows.run import load

CPU, FILE = torch.device("cpu"), Path(__file__).parent / "toys.py"
PRESETS = {"ToyText": str(FILE.with_name("toy_text.toml")), "ToyTowers": "simsiam/digits"}
TOYS = list(PRESETS)
VIEWS = [{"count": 1, "size": 8, "crop_scale": [0.5, 1.0], "order": ["crop"]}]
SGD = {"name": "sgd", "base_lr": 0.1, "lr_scaling": "none", "momentum": 0.9, "weight_decay": 0.0}
LINEAR = {
    "duration": "1 epochs",
    "batch_size": 8,
    "optimizer": SGD,
    "schedule": {"name": "cosine"},
    "views": VIEWS,
}
NAMES = ("zero", "a cross")


class Deaf(SilentWatcher):
    """Hear no warning: steps of a millisecond do wait for their texts."""

    def warn(self, text):
        pass


@pytest.fixture(autouse=True)
def _named(monkeypatch):
    monkeypatch.setattr(custom, "_named", {})


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Return a folder of 48 pictures in two classes, each with a caption that names its class."""
    root, noise = tmp_path_factory.mktemp("captioned"), np.random.default_rng(0)
    for row in range(48):
        folder = root / str(row % 2)
        folder.mkdir(exist_ok=True)
        pixels = noise.integers(0, 80, (8, 8, 3), dtype=np.uint8) + np.uint8(170 * (row % 2))
        Image.fromarray(pixels).save(folder / f"{row}.png")
        (folder / f"{row}.txt").write_text(f"{row:2} {NAMES[row % 2]}")
    return root


def config_of(toy, pictures, **fields):
    """Return the config of a toy method: texts alone, or with the preset's views."""
    name_code(f"{FILE}:{toy}")
    plain = {
        "method": {"name": f"{FILE}:{toy}"},
        "data.source": str(pictures),
        "data.workers": 0,
        "texts": [{"count": 2, "max_length": 12}],
        "train.batch_size": 8,
        "train.duration": "2 epochs",
        "train.precision": "fp32",
    }
    return completed(resolve(PRESETS[toy], None, plain | fields).config)


def training_of(toy, pictures, dtype=torch.float32, **fields):
    config = config_of(toy, pictures, **fields)
    source = assemble.open_training(config).train
    method = assemble.build_method(config, facts=assemble.facts_of(source)).to(dtype)
    return assemble.build_training(config, method, source, CPU, "fp32")


def test_a_method_gets_what_it_reads(pictures):
    batch = next(training_of("ToyText", pictures).loader.epoch(0))
    assert (len(batch.views), len(batch.texts), len(batch)) == (0, 2, 8)
    batch = next(training_of("ToyTowers", pictures).loader.epoch(0))
    assert (len(batch.views), len(batch.texts), len(batch)) == (2, 2, 8)
    with pytest.raises(DataError, match="holds images, not sentences"):
        training_of("ToyTowers", "digits")


def test_a_config_of_texts_has_no_field_of_images(pictures):
    config = config_of("ToyText", pictures)
    assert not {"image_size", "mean", "std"} & set(tomllib.loads(to_toml(config))["data"])
    with pytest.raises(ConfigError, match="image_size is missing"):
        config_of("ToyText", pictures, encoder={"name": "resnet8"}, views=VIEWS)


@pytest.mark.parametrize("toy", TOYS)
def test_resuming_in_mid_epoch_equals_never_stopping(toy, pictures, tmp_path):
    def run(training, name, stop):
        (tmp_path / name).mkdir(exist_ok=True)
        log = Log(tmp_path / name / "metrics.jsonl", Deaf())
        train(training, tmp_path / name, {}, log, stop)

    whole = training_of(toy, pictures)
    run(whole, "whole", Stop())
    stopped = training_of(toy, pictures)
    with pytest.raises(StoppedError):
        run(stopped, "cut", StopAfter(stopped, 8))
    resumed = training_of(toy, pictures)
    resume(resumed, tmp_path / "cut")
    run(resumed, "cut", Stop())
    expected = whole.method.state_dict()
    assert len(expected["centre"].unique()) > 1
    for name, value in resumed.method.state_dict().items():
        assert torch.equal(value, expected[name]), name


@pytest.mark.parametrize("toy", TOYS)
@pytest.mark.parametrize("size", [None, 4])
def test_the_plan_counts_the_work_of_a_real_step(toy, size, pictures):
    training = training_of(toy, pictures, **{"train.chunk_size": size})
    first = next(training.loader.epoch(0))
    with FlopCounterMode(display=False) as counter:
        train_step(training, [first])
    cost = estimate(training)
    assert cost.flops_per_image * 8 == counter.get_total_flops()
    images = 2 * 48 * 3 * 8 * 8 * 4 if toy == "ToyTowers" else 0  # an epoch's are made together
    assert cost.memory.views == images + 2 * 8 * 12 * (8 + 1)
    assert cost.memory.data == (48 * 3 * 8 * 8 if toy == "ToyTowers" else 0)


@pytest.mark.parametrize("toy", TOYS)
def test_every_phase_of_a_step_is_timed(toy, pictures):
    training = training_of(toy, pictures, **{"train.duration": "1000 epochs"})
    times = time_phases(training, num_steps=3)
    pictured = ["decode", "transfer", "views", "tokenise"]
    expected = pictured if toy == "ToyTowers" else ["tokenise", "transfer"]
    assert list(times.parts) == [*expected, "forward+backward", "optimiser"]
    assert times.loop > 0


def trained(toy, pictures, count):
    """Train without noise in float64; return losses, last gradients and state."""
    training = training_of(toy, pictures, torch.float64, **{"method.noise": 0.0})
    losses = []
    for batches, _ in zip(steps(training), range(count), strict=False):
        batches = list(batches)
        for batch in batches:
            batch.views[:] = [view.double() for view in batch.views]
        losses.append(collective.mean(train_step(training, batches).loss).item())
    gradients = {n: p.grad for n, p in training.method.named_parameters() if p.grad is not None}
    return losses, gradients, training.method.state_dict()


@pytest.mark.ddp
@pytest.mark.parametrize("toy", TOYS)
def test_two_processes_equal_one_with_both_halves(toy, pictures, two):
    losses, gradients, state = trained(toy, pictures, 3)
    for theirs, their_gradients, their_state in two(trained, toy, pictures, 3):
        assert theirs == pytest.approx(losses, abs=1e-9)
        assert_close(their_gradients, gradients)
        assert_close(their_state, state)


@pytest.fixture(scope="module")
def runs(pictures, tmp_path_factory):
    """Return a function from a toy to a run of it, trained once by the command line."""
    from sslcli.cli import app

    @cache
    def run_of(toy):
        out = tmp_path_factory.mktemp(toy) / "run"
        sets = ["texts=[{count=2,max_length=12}]", 'train.duration="4 epochs"']
        sets += ["train.batch_size=8"]
        words = ["pretrain", "--preset", PRESETS[toy], "--method", f"{FILE}:{toy}", "--quiet"]
        words += ["--data", str(pictures), "--out", str(out)]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.argv", ["ssl", *words, *(w for s in sets for w in ("--set", s))])
            with pytest.raises(SystemExit) as ended:
                app.main()
        assert ended.value.code == 0
        return out

    return run_of


@pytest.mark.parametrize("toy", TOYS)
def test_a_run_is_evaluated_by_its_own_column(toy, runs):
    assert knn_eval(runs(toy), k=5, method=f"{FILE}:{toy}").top1 > 0.9


def test_sentences_have_neighbours_that_are_listed_and_not_drawn(runs, tmp_path):
    run = load(runs("ToyText"), method=f"{FILE}:ToyText")
    (tmp_path / "asked.txt").write_text("12 zero\n13 a cross\n")
    found = neighbours(run, query=["40 zero", str(tmp_path / "asked.txt")], k=4, baseline=True)
    assert [query.item for query in found.queries] == ["40 zero", "12 zero", "13 a cross"]
    for query in found.queries:
        similarity = [near.similarity for near in query.neighbours]
        assert similarity == sorted(similarity, reverse=True)
        assert all(near.item.endswith(query.item.split()[-1]) for near in query.neighbours)
    assert (len(found.untrained), found.pixels, found.path) == (3, (), None)
    assert found.queries[1].neighbours[0].item == "12 zero"
    assert neighbours(run, count=5, k=4).metrics()["same_class"] > 0.9
    with pytest.raises(UsageError, match="reads no images"):
        neighbours(run, out=tmp_path / "grid.png")


def test_sentences_that_repeat_are_look_alikes(runs, tmp_path):
    lines = [f"{row} {NAMES[row % 2]}" for row in range(30)]
    (tmp_path / "own.txt").write_text("\n".join([*lines, lines[4]]))
    run = load(runs("ToyText"), data=str(tmp_path / "own.txt"), method=f"{FILE}:ToyText")
    found = look_alikes(run)
    (pair,) = (pair for pair in found.pairs if pair.exact)
    assert (pair.first, pair.second, pair.leak, found.n) == (lines[4], lines[4], False, 31)
    with pytest.raises(UsageError, match="sentences are not drawn"):
        look_alikes(run, out="pairs.png")


@pytest.mark.parametrize("format", ["safetensors", "pt2"])
def test_an_encoder_of_texts_is_exported_as_one(format, runs, tmp_path):
    exported = export(runs("ToyText"), format=format, out=tmp_path / "words")
    assert exported.compared == 9
    assert "at most 12" in exported.notes[0]
    if format == "pt2":
        tokens = ByteTokenizer().encode(["a cross", "zero"], 12)
        copy = torch.export.load(tmp_path / "words").module()
        encoder = load(runs("ToyText"), method=f"{FILE}:ToyText").encoder
        torch.testing.assert_close(copy(tokens.ids, tokens.mask), encoder(tokens.ids, tokens.mask))


def test_the_file_of_a_method_brings_its_encoder_to_other_commands(
    runs, others, tmp_path, monkeypatch
):
    run, own = runs("ToyText"), f"{FILE}:ToyText"
    ours = [family for family in families.FAMILIES if not family.matches("toy-words")]
    monkeypatch.setattr(families, "FAMILIES", ours)
    monkeypatch.delitem(sys.modules, f"sslcli_custom.{FILE.resolve()}")
    with pytest.raises(ConfigError, match="no encoder is called 'toy-words'"):
        embed(run, data=others, out=None)
    assert embed(run, data=others, out=None, method=own).features.shape == (12, 16)
    del ours[-1], sys.modules[f"sslcli_custom.{FILE.resolve()}"]
    assert export(run, out=tmp_path / "words", method=own).compared == 9


def test_a_checkpoint_knows_what_completed_its_method(runs):
    method = load(runs("ToyText"), method=f"{FILE}:ToyText").method
    assert method.first.num_embeddings == ByteTokenizer.vocabulary


def test_each_tower_of_a_run_is_evaluated_by_its_column(runs):
    run = load(runs("ToyTowers"), method=f"{FILE}:ToyTowers")
    source, text = run.splits.test, run.tower("text")
    found = run.features(source, text, reads="text")
    texts = [source.text(row) for row in range(len(source))]
    tokens = ByteTokenizer().encode(texts, 12)
    torch.testing.assert_close(found.features, text(tokens.ids, tokens.mask).detach())
    assert vote(run, 5, 0.1, network=text, reads="text").top1 > 0.9
    assert vote(run, 5, 0.1, network=run.tower("image"), reads="image").top1 > 0.9
    with pytest.raises(UsageError, match="no tower that reads pairs of sentences"):
        run.tower("pair")


def test_texts_of_a_source_give_the_features_of_the_encoder(pictures):
    config, source = config_of("ToyText", pictures), open_source(str(pictures), part=None)
    encoder = assemble.build_method(config).encoder
    found = assemble.features_of(encoder, source, config, CPU, "fp32")
    tokens = assemble.tokenizer_of(config).encode([source.text(row) for row in range(48)], 12)
    torch.testing.assert_close(found.features, encoder(tokens.ids, tokens.mask).detach())
    assert found.rows.tolist() == list(range(48))


class Recorder(Quiet):
    """Keep all that is said."""

    def __init__(self):
        self.said = []

    def note(self, text):
        self.said.append(text)

    def warn(self, text):
        self.said.append(text)


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    """Return a file of sentences that are unlike the captions."""
    file = tmp_path_factory.mktemp("others") / "others.txt"
    file.write_text("\n".join(f"QQQQ {row} ~~~" for row in range(12)))
    return str(file)


def test_nothing_that_is_said_of_sentences_calls_them_images(runs, others, tmp_path):
    heard = Recorder()
    run = load(runs("ToyText"), method=f"{FILE}:ToyText", listener=heard)
    voted = knn_eval(run, k=5, baseline=True)
    assert voted.top1_pixels is None
    assert voted.top1_untrained > 0
    detected = ood_detect(run, ood=others, score="knn")
    assert embed(run, out=None, data=others).features.shape == (12, 16)
    run.splits.need_held_out()
    with pytest.raises(DataError, match="no sentence is held out") as caught:
        load(run, overrides={"data.holdout": 0.0}).splits.need_held_out()
    said = "\n".join([*heard.said, detected.protocol, caught.value.hint])
    assert "test sentences" in said
    assert "12 sentences" in said
    assert not re.search(r"(?<!jigsaws of )\bimages?\b", said), said


@pytest.mark.parametrize(
    "ask",
    [
        lambda run: knn_eval(run, k=5, geometry=True),
        lambda run: linear_eval(run, protocol="paper", overrides={"evaluation.linear": LINEAR}),
        lambda run: ood_detect(run, score="knn"),
        lambda run: ood_detect(run, ood="uniform-noise", score="knn"),
    ],
)
def test_what_is_for_images_alone_is_refused_of_an_encoder_of_texts(ask, runs):
    run = load(runs("ToyText"), method=f"{FILE}:ToyText", listener=Recorder())
    with pytest.raises(UsageError, match="images, and toy-words reads sentences"):
        ask(run)


def test_the_plan_of_a_training_on_texts_counts_sentences(pictures, capsys):
    training, room = training_of("ToyText", pictures), Room(None, None, 1, is_host=True)
    outlook = look(training.config, lambda config: (training, 0), room, (), 1)
    show_estimate(outlook, Show("pretrain", as_json=False, quiet=False))
    said = capsys.readouterr()
    assert "sentences seen" in said.out + said.err
    assert "GFLOP per sentence" in said.out + said.err
    assert not re.search(r"\bimages?\b", (said.out + said.err).replace("max_packed_images", ""))
