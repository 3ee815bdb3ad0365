"""Values of the presets of sentences, each beside the source that it was read from."""

import pytest

from sslcli.config.presets import resolve

README = "princeton-nlp/SimCSE, README, table of hyperparameters"
SIMCSE = {  # batch, rate, epochs, source
    "simcse/unsup-bert-base": (64, 3e-5, "1 epochs", README),
    "simcse/unsup-bert-large": (64, 1e-5, "1 epochs", README),
    "simcse/unsup-roberta-base": (512, 1e-5, "1 epochs", README),
    "simcse/unsup-roberta-large": (512, 3e-5, "1 epochs", README),
    "simcse/sup-bert-base": (512, 5e-5, "3 epochs", "run_sup_example.sh: 4 times 128"),
    "simcse/sup-roberta-base": (512, 5e-5, "3 epochs", README),
    "simcse/sup-bert-large": (512, 1e-5, "3 epochs", README),
    "simcse/sup-roberta-large": (512, 1e-5, "3 epochs", README),
}
RUN = "caskcsg/sentemb, ESimCSE/run.sh"
ESIMCSE = {  # rate, repetition, queue, dropout, source
    "esimcse/bert-base": (3e-5, 0.32, 160, 0.1, RUN),
    "esimcse/roberta-base": (1e-5, 0.3, 160, 0.1, RUN),
    "esimcse/roberta-large": (1e-5, 0.28, 128, 0.15, RUN),
}


@pytest.mark.parametrize("name", SIMCSE)
def test_simcse_trains_as_its_authors_do(name):
    batch, rate, epochs, source = SIMCSE[name]
    config = resolve(name).config
    found = (config.train.batch_size, config.optimizer.base_lr, config.train.duration)
    assert found == (batch, rate, epochs), source
    assert (config.method.temperature, config.encoder.dropout) == (0.05, 0.1)
    chosen = (config.train.best, config.evaluation.online_every)
    assert chosen == ("sts", "125 steps"), "--metric_for_best_model stsb_spearman --eval_steps 125"
    is_supervised = "/sup" in name
    assert config.encoder.pooler == ("cls" if is_supervised else "cls_before_pooler")
    assert (config.method.pooler or config.encoder.pooler) == "cls"
    assert [view.sentence for view in config.texts] == ([1, 2, 3] if is_supervised else [1])
    assert {view.max_length for view in config.texts} == {32}


@pytest.mark.parametrize("name", ESIMCSE)
def test_esimcse_trains_as_its_authors_do(name):
    rate, repeated, queue, dropout, source = ESIMCSE[name]
    config = resolve(name).config
    assert config.optimizer.base_lr == rate, source
    assert (config.method.queue, config.encoder.dropout) == (queue, dropout), source
    assert config.texts[0].repeat is None
    assert (config.texts[1].repeat.unit, config.texts[1].repeat.rate) == ("subword", repeated)
    assert config.method.momentum == 0.995


def test_consert_trains_as_its_authors_do():
    config, source = resolve("consert/base").config, "scripts/unsup-consert-base.sh"
    found = (config.train.batch_size, config.optimizer.base_lr, config.method.temperature)
    assert found == (96, 5e-7, 0.1), source
    assert (config.method.weight, config.encoder.dropout) == (0.15, 0.0), source
    assert (config.method.first.kind, config.method.first.rate) == ("feature_cutoff", 0.2), source
    assert (config.method.second.kind, config.texts[0].max_length) == ("shuffle", 64), source
    assert (config.optimizer.correct_bias, config.optimizer.eps) == (False, 1e-6), source
    assert (config.train.best, config.train.patience) == ("sts", 10), source
    large = resolve("consert/large").config
    assert (large.train.batch_size, large.texts[0].max_length) == (32, 40)
    tuned = resolve("consert/base-tuned").config
    assert (tuned.optimizer.base_lr, tuned.method.temperature) == (2e-5, 0.05)
