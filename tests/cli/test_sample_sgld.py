"""Sampling from the command line: densities, starts, classes, files, the judge, what fails."""

import inspect
import json
import signal
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

import sslcli
from sslcli.assemble import build_method
from sslcli.config.presets import resolve
from sslcli.engine.checkpoint import load_checkpoint, save_checkpoint
from sslcli.errors import UsageError
from sslcli.methods.custom import name_code

DIGITS = {"data": {"classes": list("0123456789")}}
LONG = ("--steps", 40, "--count", 12)


@pytest.fixture
def make(tmp_path):
    """Return a function that saves a preset's method as it begins, and returns its folder."""

    def save(preset, facts=DIGITS, start=None, **fields):
        options = {"encoder.width": 4} if preset == "igebm/digits" else {}
        options |= {name.replace("__", "."): value for name, value in fields.items()}
        method = build_method(config := resolve(preset, options=options).config)
        if start is not None:
            labels = torch.arange(len(start)) % 10
            rows = labels * method.sampling.replay.block % 1000 + torch.arange(len(start))
            method.sampling.replay.write(rows, start, labels, labels >= 0)
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        save_checkpoint(folder / "checkpoint.safetensors", method.state_dict(), config, facts)
        return folder

    return save


@pytest.fixture
def jem(make):
    """Return a JEM of samples of p(x), with 30 images in its buffer."""
    return make("jem/digits", start=images())


def images(count=30):
    return torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1


def drawn(outcome):
    """Return the tensors that a command has written."""
    (name,) = (file for file in outcome.json["files"] if file.endswith(".safetensors"))
    return load_file(name)


def assert_images(samples, count):
    assert samples.shape == (count, 3, 8, 8)
    assert 0 <= samples.min() < samples.max() <= 1
    assert samples.std() > 0.2


def test_images_energies_and_a_line_of_results_are_kept(ssl, jem):
    outcome = ssl("sample-sgld", jem, *LONG, "--json")
    assert outcome.code == 0
    names = [Path(file).name for file in outcome.json["files"]]
    stem = "sgld-fresh-seed-0"
    assert names == [f"{stem}.safetensors", f"{stem}.png", f"{stem}-energy.png"]
    assert sorted(names) == sorted(path.name for path in (jem / "figures").iterdir())
    (line,) = (jem / "results.jsonl").read_text().splitlines()
    assert json.loads(line)["metrics"] == outcome.json["metrics"]
    found = drawn(outcome)
    assert_images(found["samples"], 12)
    assert found["energies"].mean().item() == pytest.approx(outcome.json["metrics"]["energy"])
    assert found["trajectory"].shape == (40, 12)


@pytest.mark.parametrize("asked", [{}, {"class_": ["7", 3], "noise": 0.02, "step_size": 2.0}])
@pytest.mark.filterwarnings("ignore:chains have not settled")
def test_the_function_gives_the_numbers_and_tensors_of_the_command(ssl, jem, make, asked):
    judge = make("supervised/digits", seed=1)
    words = ("--class", 7, "--class", 3, "--noise", 0.02, "--step-size", 2) if asked else ()
    told = ssl("sample-sgld", jem, *LONG, *words, "--judge", judge, "--json")
    state = torch.get_rng_state()
    found = sslcli.sample_sgld(jem, steps=40, count=12, judge=judge, **asked)
    assert torch.equal(torch.get_rng_state(), state)
    assert found.metrics() == told.json["metrics"]
    assert [row.as_dict() for row in found.class_rows()] == told.json["per_class"]
    assert found.verdict.facts() == told.json["judge"]
    assert found.plan.settings.step_size == told.json["sampler"]["step_size"]
    kept = drawn(told)
    for name in ("samples", "energies", "log_p", "labels", "trajectory"):
        assert torch.equal(kept[name], getattr(found, name)), name


def test_the_function_writes_where_it_is_told_to_and_nowhere_else(jem, tmp_path):
    asked = {"steps": 1, "count": 2}
    sslcli.sample_sgld(jem, **asked)
    assert [path.name for path in jem.iterdir()] == ["checkpoint.safetensors"]
    found = sslcli.sample_sgld(jem, **asked, out=tmp_path / "out")
    assert {Path(file) for file in found.files} == {*(tmp_path / "out").iterdir()}
    assert len(found.files) == 3


@pytest.mark.parametrize(
    ("wrong", "argument"),
    [
        ({"count": 0}, "count"),
        ({"steps": -1}, "steps"),
        ({"start": "middle"}, "start"),
        ({"target": "joint"}, "target"),
        ({"class_": 10}, "class"),
        ({"noise": -1.0}, "noise"),
        ({"step_size": 0.0}, "step_size"),
    ],
)
def test_wrong_arguments_are_named_in_python(jem, wrong, argument):
    unchecked = inspect.unwrap(sslcli.sample_sgld)  # the tests' own check of types is before ours
    with pytest.raises(UsageError) as caught:
        unchecked(jem, **wrong)
    assert caught.value.where == argument


def test_a_grid_too_large_to_look_at_is_cut_and_says_so(ssl, jem):
    outcome = ssl("sample-sgld", jem, "--count", 50, "--class", 3, "--steps", 0)
    assert "the grid shows" not in outcome.err
    outcome = ssl("sample-sgld", jem, "--count", 402, "--class", 3, "--steps", 0)
    assert "the grid shows 400 of 402 images" in outcome.err


def test_the_file_says_how_it_was_made(ssl, jem):
    outcome = ssl("sample-sgld", jem, "--count", 2, "--steps", 3, "--noise", 0.02, "--json")
    with safe_open(outcome.json["files"][0], "pt") as file:
        told = json.loads(file.metadata()["sampling"])
    assert told["sampler"] == outcome.json["sampler"]
    assert (told["sampler"]["noise"], told["sampler"]["steps"]) == (0.02, 3)
    assert (told["seed"], told["start"], told["class_names"][3]) == (0, "fresh", "3")


def test_a_seed_gives_the_same_samples_and_another_one_others(ssl, jem):
    words = ("sample-sgld", jem, "--count", 70, "--steps", 2, "--json", "--seed")
    first, again, other = (drawn(ssl(*words, seed))["samples"] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_samples_of_asked_classes_climb_log_p_of_image_and_class(ssl, jem):
    words = ("--class", "7", "--class", 3, "--count", 9, "--steps", 30, "--precision", "fp32")
    outcome = ssl("sample-sgld", jem, *words, "--step-size", 5, "--json")
    found = drawn(outcome)
    assert found["labels"].tolist() == [3] * 5 + [7] * 4
    joint = found["log_p"] + found["probabilities"].log()  # z_y = LSE(z) + log p(y|x)
    assert torch.allclose(found["energies"], -joint, atol=1e-4)
    assert (found["trajectory"][-1] < found["trajectory"][0]).all()
    assert [(row["class"], row["n"]) for row in outcome.json["per_class"]] == [("3", 5), ("7", 4)]
    assert outcome.json["metrics"]["own_top1"] >= 5 / 9


def test_without_classes_samples_are_sorted_by_what_the_model_sees(ssl, jem):
    outcome = ssl("sample-sgld", jem, "--count", 20, "--steps", 5, "--json")
    assert outcome.json["target"] == "marginal"
    labels = drawn(outcome)["labels"].tolist()
    rows = [(int(row["class"]), row["n"]) for row in outcome.json["per_class"]]
    assert rows == [(each, labels.count(each)) for each in sorted(set(labels))]
    assert outcome.json["metrics"]["own_top1"] is None  # it would be 1 by definition


def test_no_step_shows_the_buffer_as_it_is(ssl, jem):
    words = ("--start", "buffer", "--steps", 0, "--count", 30, "--json")
    outcome = ssl("sample-sgld", jem, *words)
    assert len(outcome.json["files"]) == 2  # no trajectory
    samples = drawn(outcome)["samples"].flatten(1)
    expected = images().mul(0.5).add(0.5).flatten(1)
    assert torch.equal(samples.sort(dim=0).values, expected.sort(dim=0).values)  # each once
    more = ssl("sample-sgld", jem, "--start", "buffer", "--steps", 0, "--count", 31)
    assert "1 chains start where others do" in more.err


def test_a_buffer_without_classes_is_sorted_by_the_model(ssl, jem):
    words = ("sample-sgld", jem, "--start", "buffer", "--steps", 0, "--count", 30, "--json")
    seen = {row["class"]: row["n"] for row in ssl(*words).json["per_class"]}
    asked = ssl(*words, "--target", "marginal", "--class", min(seen))
    assert asked.json["metrics"]["own_top1"] == 1
    assert len(drawn(asked)["samples"].unique(dim=0)) == seen[min(seen)]
    missing = ssl(*words, "--class", min({*"0123456789"} - {*seen}))
    assert missing.code == 2
    assert "holds no image of class" in missing.err


def test_a_buffer_with_classes_is_taken_at_its_word(ssl, make):
    run = make("jem/digits", start=images(), method__target="class")
    words = ("--start", "buffer", "--steps", 0, "--class", 4, "--count", 3, "--json")
    samples = drawn(ssl("sample-sgld", run, *words))["samples"].flatten(1)
    expected = images()[[4, 14, 24]].mul(0.5).add(0.5).flatten(1)
    assert torch.equal(samples.sort(dim=0).values, expected.sort(dim=0).values)


def test_a_model_trained_by_class_is_sampled_by_class(ssl, make):
    run, words = make("jem/digits", method__target="class"), ("--count", 20, "--steps", 1, "--json")
    outcome = ssl("sample-sgld", run, *words)
    assert outcome.json["target"] == "class"
    assert [row["n"] for row in outcome.json["per_class"]] == [2] * 10
    assert ssl("sample-sgld", run, *words, "--target", "marginal").json["classes"] == []


def test_igebm_has_classes_and_images_between_0_and_1(ssl, make):
    outcome = ssl("sample-sgld", make("igebm/digits"), "--count", 20, "--steps", 1, "--json")
    assert [row["n"] for row in outcome.json["per_class"]] == [2] * 10
    assert_images(drawn(outcome)["samples"], 20)


def test_igebm_without_classes_has_energies_and_no_classes(ssl, make):
    run = make("igebm/digits", method__num_classes=None)
    outcome = ssl("sample-sgld", run, *LONG, "--json")
    assert outcome.json["per_class"] == []
    found = drawn(outcome)
    assert found.keys() == {"samples", "energies", "log_p", "trajectory"}
    assert torch.equal(found["energies"], -found["log_p"])
    for words in (["--class", 1], ["--target", "class"]):
        refused = ssl("sample-sgld", run, *words)
        assert refused.code == 2
        assert "trained without classes" in refused.err


def test_hdge_is_a_density_only_with_its_term(ssl, make):
    sampler = {"steps": 2, "step_size": 1.0, "noise": 0.01}
    replay = {"size": 40, "image_size": 8, "restart": 0.05, "range": [-1.0, 1.0]}
    with_term = {"method__density_weight": 1.0, "method__sampler": sampler}
    run = make("hdge/digits", **with_term, method__replay=replay)
    assert ssl("sample-sgld", run, "--count", 3, "--json").json["sampler"]["steps"] == 40
    refused = ssl("sample-sgld", make("hdge/digits"))
    assert refused.code == 2
    assert "weight above 0, a method.sampler and a method.replay" in refused.err


BOWL = """
import torch
from sslcli.config.methods.energy import ReplayConfig, SamplerConfig
from sslcli.config.section import MethodSection
from sslcli.memory.replay import ReplayBuffer
from sslcli.methods.base import Method, Output


class BowlSection(MethodSection):
    num_classes: int | None = None
    sampler: SamplerConfig = SamplerConfig(steps=5, step_size=0.5, noise=0)
    replay: ReplayConfig = ReplayConfig(size=4, image_size=8, restart=1, range=(-1, 1))


class Bowl(Method):
    Section = BowlSection
    by_class = False

    def __init__(self, config, encoder):
        super().__init__()
        self.encoder, self.replay = encoder, ReplayBuffer(4, (3, 8, 8))

    def forward(self, batch, progress):
        return Output(self.log_density(batch.views[0]).mean())

    def log_density(self, images, labels=None):
        return -(images - 0.5).square().flatten(1).sum(dim=1)

    def logits(self, images):
        return self.log_density(images)[:, None]

    def chains(self):
        return self

    def fresh(self, labels):
        return torch.zeros(len(labels), 3, 8, 8)
"""


def test_a_method_of_ones_own_is_sampled_by_what_it_can_do(ssl, make, tmp_path):
    (tmp_path / "mine.py").write_text(BOWL)
    name_code(mine := f"{tmp_path / 'mine.py'}:Bowl")
    run = make("jem/digits", method__name=mine)
    outcome = ssl("sample-sgld", run, "--steps", 2, "--method", mine, "--json")
    samples = drawn(outcome)["samples"]
    torch.testing.assert_close(samples, torch.full_like(samples, 0.75))  # pixels are 0.5 +- 0.5 x
    assert torch.equal(samples, sslcli.sample_sgld(run, steps=2, method=mine).samples)


def test_other_methods_are_told_which_are_densities(ssl, make):
    outcome = ssl("sample-sgld", make("supervised/digits"), "--noise", 1)
    assert outcome.code == 2
    assert "train one of these: jem, hdge, igebm" in outcome.err


def test_steps_are_those_of_training_and_told(ssl, jem):
    fresh = ssl("sample-sgld", jem, "--dry-run", "--json")
    config = load_checkpoint(jem).config.method
    assert fresh.json["steps"] == config.sampler.steps / config.replay.restart
    assert fresh.json["gradients"] == 64 * fresh.json["steps"]
    assert f"{fresh.json['steps']} steps, for the lives of chains in training" in fresh.err
    assert ssl("sample-sgld", jem, "--dry-run", "--json", "--start", "buffer").json["steps"] == 40
    assert [path.name for path in jem.iterdir()] == ["checkpoint.safetensors"]


def test_chains_that_have_not_settled_are_told(ssl, jem):
    moving = ssl("sample-sgld", jem, *LONG, "--step-size", 20, "--quiet", "--json")
    assert moving.json["metrics"]["has_settled"] is False
    assert "warning: chains have not settled" in moving.err
    assert "energies fell by" in moving.err
    still = ("--step-size", 1e-12, "--noise", 0)
    settled = ssl("sample-sgld", jem, *LONG, *still, "--json")
    assert settled.json["metrics"]["has_settled"] is True
    assert "warning" not in settled.err
    short = ssl("sample-sgld", jem, "--steps", 39, "--json")
    assert short.json["metrics"]["has_settled"] is None
    assert "takes at least 40 steps of 10 chains" in short.err


def test_chains_that_fail_are_counted_and_left_out(ssl, make):
    start = images(20)
    start[:3] = 3e38  # finite, but no network's answer to it is
    run = make("jem/digits", start=start, method__sampler__bounds=None)
    words = ("--start", "buffer", "--count", 20, "--steps", 2, "--json")
    outcome = ssl("sample-sgld", run, *words)
    assert outcome.code == 0
    assert (outcome.json["metrics"]["n"], outcome.json["metrics"]["non_finite"]) == (17, 3)
    assert "warning: 3 of 20 chains" in outcome.err
    assert all(each.isfinite().all() for each in drawn(outcome).values())


def test_chains_that_all_fail_are_unhealthy(ssl, make):
    run = make("jem/digits", start=images(3) + 3e38, method__sampler__bounds=None)
    outcome = ssl("sample-sgld", run, "--start", "buffer", "--count", 3, "--steps", 2)
    assert outcome.code == 6
    assert "all 3 chains" in outcome.err
    assert not list((run / "figures").iterdir())


def test_a_judge_says_what_samples_look_like(ssl, jem, make):
    judge = make("supervised/digits", seed=1)
    words = ("--count", 20, "--class", "all", "--steps", 2, "--judge", judge, "--json")
    outcome = ssl("sample-sgld", jem, *words)
    found, metrics = drawn(outcome), outcome.json["metrics"]
    share = (found["judged"] == found["labels"]).float().mean()
    assert metrics["judge_top1"] == pytest.approx(share.item())
    assert 0 <= metrics["judge_top1_real"] <= 1
    counts = torch.bincount(found["judged"], minlength=10).tolist()
    assert list(outcome.json["judge"]["histogram"].values()) == counts
    assert [row["judged"] for row in outcome.json["per_class"]] == counts


def test_a_judge_matches_classes_by_name(ssl, jem, make):
    names = list("9876543210")
    plain, turned = (
        make("supervised/digits", facts={"data": {"classes": each}})
        for each in (list("0123456789"), names)
    )
    words = ("sample-sgld", jem, "--count", 20, "--steps", 2, "--json", "--judge")
    first, second = (ssl(*words, each).json["judge"]["histogram"] for each in (plain, turned))
    assert list(first.values()) == list(second.values())
    assert first == {str(9 - int(name)): count for name, count in second.items()}


def test_a_judge_that_cannot_judge_is_refused(ssl, jem, make):
    strange = make("supervised/digits", facts={"data": {"classes": list("abcdefghij")}})
    for judge, told in (
        (strange, "does not know 10 of the classes: 0, 1, 2, 3, 4"),
        (make("igebm/digits"), "no linear classifier"),
        (jem / "nothing", "no checkpoint here"),
    ):
        outcome = ssl("sample-sgld", jem, "--judge", judge)
        assert outcome.code == 2
        assert told in outcome.err
    itself = ssl("sample-sgld", jem, "--judge", jem, "--steps", 1)
    assert "the judge is the model itself" in itself.err


def test_gates_know_what_will_be_measured(ssl, jem):
    words = ("sample-sgld", jem, *LONG, "--json", "--require")
    assert ssl(*words, "non_finite==0").code == 0
    unmet = ssl(*words, "non_finite>0")
    assert unmet.code == 5
    assert unmet.json["metrics"]["non_finite"] == 0
    unknown = ssl(*words, "judge_top1>=0.5")  # without a judge
    assert unknown.code == 2
    assert "no metric is named 'judge_top1'" in unknown.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--class", "eleven"], "knows no class 'eleven'"),
        (["--class", "10"], "knows no class '10'"),
        (["--class", "1", "--target", "marginal"], "--start buffer"),
        (["--step-size", "0"], "must be a number above 0\nwhere: --step-size"),
        (["--noise", "nan"], "must be a number of at least 0\nwhere: --noise"),
        (["--count", "0"], "--count"),
    ],
)
def test_wrong_use_is_told(ssl, jem, words, told):
    outcome = ssl("sample-sgld", jem, *words)
    assert outcome.code == 2
    assert told in outcome.err


def test_an_empty_buffer_is_told(ssl, make):
    run = make("jem/digits")
    for words in ((), ("--class", 1)):
        outcome = ssl("sample-sgld", run, "--start", "buffer", *words)
        assert outcome.code == 2
        assert "the buffer holds no image yet" in outcome.err


def test_a_folder_that_cannot_be_written_is_told_before_any_chain(ssl, jem, tmp_path):
    (tmp_path / "file").write_text("in the way")
    outcome = ssl("sample-sgld", jem, "--steps", 10**6, "--out", tmp_path / "file" / "new")
    assert outcome.code == 4
    assert "cannot write" in outcome.err


def test_a_damaged_buffer_is_told(ssl, jem):
    method = load_checkpoint(jem)
    tensors = method.tensors() | {"sampling.replay.age": torch.zeros(3, dtype=torch.int64)}
    save_checkpoint(method.path, tensors, method.config, method.facts)
    outcome = ssl("sample-sgld", jem)
    assert outcome.code == 2
    assert "sampling.replay.age" in outcome.err


def test_ctrl_c_leaves_what_was_there(ssl, jem):
    words = ("sample-sgld", jem, "--count", 3, "--steps")
    assert ssl(*words, 1).code == 0
    before = {path: path.read_bytes() for path in jem.rglob("*.*")}

    def interrupt(*_):
        raise KeyboardInterrupt

    handler = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 1.0)
    assert ssl(*words, 10**7).code == 130
    signal.signal(signal.SIGALRM, handler)
    assert {path: path.read_bytes() for path in jem.rglob("*.*")} == before
