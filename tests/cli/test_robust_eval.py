"""Robustness from the command line: every kind of classifier, gates, figures, wrong use."""

import json
from pathlib import Path

import pytest
from PIL import Image

import sslcli
from sslcli.cli import robust_eval
from sslcli.cli.syntax import parse_radii
from sslcli.errors import UsageError
from sslcli.evaluate.robust import autoattack
from sslcli.evaluate.robust.corruptions import CORRUPTIONS
from sslcli.listener import Quiet
from sslcli.workflows.trial import shown

QUICK = ("--count", 24, "--steps", 3, "--restarts", 1)
LITTLE = (*QUICK, "--eps", "4", "--eps-l2", "none", "--corruption", "fog")


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def classifier(trained, tmp_path_factory, run_once):
    """Return a fine-tuned run."""
    run = tmp_path_factory.mktemp("runs") / "finetuned"
    short = ("--set", 'evaluation.finetune.duration="4 epochs"')
    run_once("finetune", trained, "--out", run, "--quiet", *short)
    return run


@pytest.fixture(scope="module")
def jem(tmp_path_factory, run_once):
    """Return a run of JEM of a few steps."""
    run = tmp_path_factory.mktemp("runs") / "jem"
    short = ("--set", 'train.duration="4 steps"', "--set", 'schedule.warmup="1 steps"')
    run_once("pretrain", "--preset", "jem/digits", "--out", run, "--quiet", *short)
    return run


def test_attacks_and_corruptions_are_measured_and_kept(ssl, classifier):
    words = ("--eps", "2,16", "--eps-l2", "1", "--corruption", "fog", "--corruption", "saturate")
    outcome = ssl("robust-eval", classifier, *QUICK, *words, "--json")
    assert outcome.code == 0
    metrics = outcome.json["metrics"]
    levels = {f"/{level}" for level in range(1, 6)} | {""}
    attacks = {"top1/linf-2", "top1/linf-16", "top1/l2-1"}
    spoilt = {f"top1/{name}{at}" for name in ("fog", "saturate", "corrupted") for at in levels}
    assert metrics.keys() == {"top1", "n", "zero_gradient", *attacks, *spoilt}
    assert outcome.json["zero_gradient"] == dict.fromkeys(attacks, 0.0)
    assert metrics["n"] == 24
    assert metrics["top1"] > 0.7
    assert metrics["top1"] >= metrics["top1/linf-2"] >= metrics["top1/linf-16"] < metrics["top1"]
    assert metrics["top1/corrupted"] == metrics["top1/fog"]  # saturate is outside the mean
    assert outcome.json["intervals"].keys() == metrics.keys() - {"n", "zero_gradient"}
    for name in outcome.json["figures"]:
        assert Path(name).read_bytes().startswith(b"\x89PNG")
    assert len(outcome.json["figures"]) == 2
    line = json.loads((classifier / "results.jsonl").read_text().splitlines()[-1])
    assert line["metrics"] == metrics


def test_the_tables_have_a_row_an_attack_and_a_row_a_corruption(ssl, classifier):
    outcome = ssl("robust-eval", classifier, *LITTLE)
    rows = [line.split("\t") for line in outcome.out.splitlines()]
    heads = ["corruption", *(f"severity {level}" for level in range(1, 6)), "mean"]
    assert rows[0] == heads
    assert [row[0] for row in rows[1:]] == ["fog", "mean of 1", "attack", "none", "linf-4"]
    assert rows[3] == ["attack", "top1", "95% interval", "n"]
    assert "3 steps of 0.833333 radii" in outcome.err
    assert "precision fp32" in outcome.err


def test_the_same_seed_gives_the_same_numbers_and_another_other_images(ssl, classifier):
    words = ("robust-eval", classifier, *LITTLE, "--json", "--quiet")
    first, again, other = ssl(*words), ssl(*words), ssl(*words, "--seed", 1)
    assert first.json["metrics"] == again.json["metrics"]
    assert first.json["protocol"] != other.json["protocol"]
    assert first.json["metrics"]["n"] == other.json["metrics"]["n"]


def test_jem_is_attacked_through_its_refinement(ssl, jem):
    words = ("--refine", "0,1", "--verdicts", 2, "--replicas", 2)
    outcome = ssl("robust-eval", jem, *LITTLE, *words, "--json")
    assert outcome.code == 0
    names = {f"top1/refine-{steps}{at}" for steps in (0, 1) for at in ("", "/linf-4")}
    assert names <= outcome.json["metrics"].keys()
    assert "top1/linf-4" not in outcome.json["metrics"]  # the plain classifier is not attacked
    assert "noise 0.03" in outcome.json["protocol"]
    assert "gradients over 2 replicas, answers over 2" in outcome.json["protocol"]


def test_gates_take_attacks_and_corruptions(ssl, classifier):
    words = ("robust-eval", classifier, *LITTLE, "--require")
    assert ssl(*words, "top1/fog/1>=0.3").code == 0
    assert ssl(*words, "top1/linf-4>1").code == 5
    unknown = ssl(*words, "top1/linf-5>0")
    assert unknown.code == 2
    assert "did you mean 'top1/linf-4'" in unknown.err


def test_a_dry_run_lists_conditions_and_tries_none(ssl, classifier):
    outcome = ssl("robust-eval", classifier, "--dry-run", "--json", "--count", 7)
    assert outcome.json["images"] == {"test": 7}
    assert len(outcome.json["conditions"]) == 1 + 4 + 3 + 5 * len(CORRUPTIONS)


def test_a_run_without_a_classifier_gets_a_probe_that_is_attacked_through_the_encoder(
    ssl, trained, tmp_path
):
    words = ("--steps", 3, "--restarts", 1, "--eps", "4,32", "--eps-l2", "none")
    outcome = ssl("robust-eval", trained, *words, "--corruption", "none", "--json")
    probe = ssl("linear-eval", trained, "--precision", "fp32", "--json").json
    metrics = outcome.json["metrics"]
    assert outcome.code == 0
    assert metrics["top1"] == pytest.approx(probe["metrics"]["top1"], abs=1e-9)
    assert metrics["top1"] > metrics["top1/linf-4"] > metrics["top1/linf-32"]
    assert probe["protocol"] in outcome.json["protocol"]
    assert "a linear probe is fitted" in outcome.err
    plan = ssl("robust-eval", trained, *words, "--dry-run", "--json")
    assert len(plan.json["conditions"]) == 3 + 17 * 5
    assert "a linear probe is fitted" not in plan.err


def test_a_run_without_a_classifier_needs_labels(ssl, trained, tmp_path):
    for number in range(8):
        Image.new("RGB", (8, 8), (30 * number, 0, 0)).save(tmp_path / f"{number}.png")
    outcome = ssl("robust-eval", trained, "--data", tmp_path)
    assert outcome.code == 2
    assert "one sub-folder a class" in outcome.err


def test_wrong_use_is_told_before_any_work(ssl, classifier, monkeypatch):
    monkeypatch.setattr(autoattack, "find_spec", lambda name: None)
    for run, words, told in (
        (classifier, ["--refine", "1"], "finetune has no log p(x)"),
        (classifier, ["--refine", "some"], "'some' is no number of steps"),
        (classifier, ["--noise", "0.1"], "the plain classifier gets no noise"),
        (classifier, ["--eps", "0"], "'0' is no radius"),
        (classifier, ["--eps-l2", "1,x"], "'x' is no radius"),
        (classifier, ["--eps", "2,0.0314"], "write 8.01 for 0.0314 of images in 0 to 1"),
        (classifier, ["--eps", "8/256"], "'8/256' is no radius"),
        (classifier, ["--eps", "256"], "more than images have"),
        (classifier, ["--eps-l2", "128"], "write 128/255"),
        (classifier, ["--corruption", "fogg"], "did you mean fog?"),
        (classifier, ["--step-size", "0"], "a step needs a positive length"),
        (classifier, ["--autoattack"], "pip install 'sslcli[attack]'"),
        (classifier, ["--autoattack", "--eps", "none", "--eps-l2", "none"], "needs a radius"),
    ):
        outcome = ssl("robust-eval", run, *words)
        assert outcome.code == 2, words
        assert told in outcome.err, words


def test_radii_are_told_apart_in_all_their_digits():
    linf = parse_radii(["8/255,0.5/255", "1.0000001,1"], "--eps", levels=255)
    assert linf == (0.5, 1, 1.0000001, 8)
    l2 = parse_radii(["51/255"], "--eps-l2", levels=1)
    assert l2 == pytest.approx((0.2,))
    names = [f"linf-{shown(each)}" for each in linf]
    assert names == ["linf-0.5", "linf-1", "linf-1.0000001", "linf-8"]


def test_figures_that_cannot_be_written_cost_a_warning(ssl, classifier, tmp_path):
    (tmp_path / "figures").write_text("in the way")
    copy = tmp_path / "checkpoint.safetensors"
    copy.write_bytes((classifier / "checkpoint.safetensors").read_bytes())
    outcome = ssl("robust-eval", copy, *LITTLE, "--json")
    assert outcome.code == 0
    assert outcome.json["figures"] == []
    assert "warning: " in outcome.err


def test_the_help_names_every_corruption():
    assert tuple(each.name for each in CORRUPTIONS) == robust_eval.CORRUPTIONS
    option = robust_eval.robust_eval.__annotations__["corruption"].__metadata__[0]
    assert "saturate; or none" in option.help


def test_errors_name_the_option_as_the_command_line_has_it(ssl, classifier):
    outcome = ssl("robust-eval", classifier, "--eps-l2", 128, "--json")
    assert outcome.json["errors"][0]["where"] == "--eps-l2"


class Told(Quiet):
    """Keeps how far the bar came."""

    def bar(self, what):
        return lambda done, total: setattr(self, "end", (done, total))


LITTLE_IN_PYTHON = {"count": 24, "steps": 3, "restarts": 1, "eps": [4], "eps_l2": []}


@pytest.mark.parametrize("words", [(), ("--refine", "0,1", "--verdicts", 2, "--replicas", 2)])
def test_the_function_gives_the_numbers_of_the_command(ssl, jem, words):
    refined = {"refine": [0, 1], "verdicts": 2, "replicas": 2} if words else {}
    told = ssl("robust-eval", jem, *LITTLE, *words, "--json").json
    run = sslcli.load(jem, precision="fp32", listener=(heard := Told()))
    found = sslcli.robust_eval(run, **LITTLE_IN_PYTHON, corruption=["fog"], **refined)
    assert found.metrics() == told["metrics"]
    assert {name: [*ends] for name, ends in found.intervals().items()} == told["intervals"]
    assert found.zero_gradients() == told["zero_gradient"]
    assert found.protocol == told["protocol"]
    assert heard.end[0] == heard.end[1]


def test_rows_say_what_was_tried_in_numbers(classifier):
    found = sslcli.robust_eval(str(classifier), **LITTLE_IN_PYTHON, corruption=["fog"])
    attack = found.rows[1]
    assert (attack.norm, attack.radius, attack.refine, attack.zero_gradient) == ("linf", 4, None, 0)
    assert attack.interval[0] <= attack.accuracy <= attack.interval[1]
    spoilt = [row for row in found.rows if row.corruption == "fog"]
    assert [row.severity for row in spoilt] == [1, 2, 3, 4, 5, None]
    mean = sum(row.accuracy for row in spoilt[:5]) / 5
    assert spoilt[5].accuracy == pytest.approx(mean)
    assert found.top1 == found.metrics()["top1"]


@pytest.mark.parametrize(
    ("wrong", "argument"),
    [
        ({"eps": [0]}, "eps"),
        ({"eps_l2": [float("nan")]}, "eps_l2"),
        ({"steps": 0}, "steps"),
        ({"count": 0}, "count"),
        ({"refine": [-1]}, "refine"),
        ({"noise": -1.0, "refine": [0]}, "noise"),
        ({"corruption": ["frost"]}, "corruption"),
    ],
)
def test_wrong_arguments_are_named_in_python(wrong, argument):
    with pytest.raises(UsageError) as caught:
        sslcli.robust_eval("nothing/there", **wrong)
    assert caught.value.where == argument


def test_a_radius_below_one_level_is_doubted_in_python(classifier):
    with pytest.warns(UserWarning, match="0.03 is less than one level"):
        sslcli.robust_eval(classifier, **LITTLE_IN_PYTHON | {"eps": [0.03]}, corruption=[])


def test_unreadable_images_are_counted(ssl, classifier, holed):
    words = ("--data", holed, "--set", "data.max_bad_fraction=0.1", "--eps", "2", "--steps", "1")
    told = ssl("robust-eval", classifier, *words, "--json").json
    assert told["unreadable"][f"20 of {holed} (test)"]["files"] == [str(holed / "test/0/1.png")]
