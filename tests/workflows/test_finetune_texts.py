"""Fine-tuning of an encoder of sentences, and what follows it."""

import pytest

import sslcli
from sslcli.errors import UsageError

RECIPE = "evaluation.finetune."
QUICK = {f"{RECIPE}duration": "8 epochs", f"{RECIPE}optimizer.base_lr": 1e-2}
SMALL = {
    "encoder.name": "bert-1-16-2",
    "train.duration": "1 steps",
    "train.batch_size": 8,
    "evaluation.k": 3,
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return a run that was pre-trained for a step on sentences whose first word is their class."""
    folder = tmp_path_factory.mktemp("texts")
    words = ["one", "two", "above", "below", "it"]
    texts = [(f"{c} {a} {b}", c) for c in ("red", "blue") for a in words for b in words]
    table = folder / "labelled.csv"
    table.write_text("sentence,label\n" + "".join(f"{text},{name}\n" for text, name in texts))
    return sslcli.pretrain(
        "mlm", preset="mlm/phrases", data=str(table), out=folder / "run", overrides=SMALL
    )


@pytest.fixture(scope="module")
def tuned(run):
    return sslcli.finetune(run, overrides=QUICK)


def test_an_encoder_of_sentences_learns_classes(tuned):
    assert (tuned.top1, tuned.n) == (1.0, 10)
    assert "8 epochs, batch 32, ADAMW" in tuned.protocol
    config = sslcli.load(tuned.run).config
    assert (config.method.column, config.views, len(config.texts)) == ("text", (), 1)


def test_its_classifier_is_calibrated_and_its_scores_find_other_sentences(tuned, tmp_path):
    assert sslcli.calibrate(tuned.run, method="none").first.before.n == 10
    other = tmp_path / "other.txt"
    other.write_text("it above below\nbelow it it\ntwo two two\n")
    found = sslcli.ood_detect(tuned.run, ood=[str(other)], score=["msp"])
    assert 0 <= found.metrics()["auroc/msp"] <= 1


@pytest.mark.parametrize("field", ["mixup", "cutmix"])
def test_sentences_are_not_mixed(run, field, tmp_path):
    with pytest.raises(UsageError, match="reads sentences"):
        sslcli.finetune(run, overrides={f"{RECIPE}{field}": 0.2}, out=tmp_path / "no")
    assert not (tmp_path / "no").exists()


def test_what_needs_views_of_images_is_refused(run, tuned):
    with pytest.raises(UsageError, match="sees augmented images"):
        sslcli.linear_eval(run, protocol="paper")
    with pytest.raises(UsageError, match="reads sentences"):
        sslcli.distill(tuned.run)
    with pytest.raises(UsageError, match="reads sentences"):
        sslcli.robust_eval(tuned.run)
