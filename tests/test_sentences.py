"""Sentence methods from start to end: tokenizers, weights of others, training, sts-eval."""

import math

import pytest
import torch
from transformers import BertConfig, BertModel

from sslcli import assemble
from sslcli.config.presets import resolve
from sslcli.config.section import DataFacts
from sslcli.data.batch import Batch
from sslcli.data.sources.base import Subset
from sslcli.data.sources.sentences import Groups, Sentences
from sslcli.data.text.learned import learn_words
from sslcli.engine.chunking import Chunked
from sslcli.errors import CheckpointError, ConfigError, UsageError
from sslcli.listener import Quiet
from sslcli.methods.base import Progress
from sslcli.workflows.sentences import tell_of_texts

TEXTS = ["a red one above it", "the red two", "two above red", "one on it", "it", "a two"] * 4
NOW = Progress(0, 10, 5)
TINY = {"encoder.name": "bert-2-8-2", "encoder.dropout": 0.0}
TRIPLE = [{"max_length": 16, "sentence": n} for n in (1, 2, 3)]


def settled(method, source=None, **fields):
    """Return the config of a tiny encoder, and its method, for some sentences."""
    source = source or Sentences("s", TEXTS)
    config = resolve(f"{method}/phrases", None, TINY | {"texts": PAIR} | fields).config
    config = assemble.settled(config, source)
    return config, assemble.build_method(config, facts=assemble.facts_of(source), load_start=True)


PAIR = [{"max_length": 16, "count": 2}]


def tokens(texts=TEXTS[:4]):
    return learn_words(TEXTS, 64).encode(texts, 16)


def batch(*views, labels=None):
    return Batch([], torch.arange(len(views[0])), labels, texts=list(views))


@pytest.fixture
def folder(tmp_path):
    """Return a Hugging Face folder of a tiny BERT with a tokenizer of its own."""
    torch.manual_seed(0)
    words = learn_words([*TEXTS, "more words than the data has"], 64)
    (tmp_path / "tokenizer.json").write_text(words.text)
    small = {"hidden_size": 12, "num_hidden_layers": 1, "num_attention_heads": 3}
    config = BertConfig(
        vocab_size=words.vocabulary, intermediate_size=48, max_position_embeddings=16, **small
    )
    BertModel(config).save_pretrained(tmp_path)
    return tmp_path


def test_an_encoder_takes_the_size_and_the_tokenizer_of_a_folder(folder):
    told = []
    config = resolve("simcse/phrases", None, {"encoder.weights": str(folder), "texts": PAIR}).config
    config = assemble.settled(config, Sentences("s", TEXTS), told.append)
    assert (config.encoder.name, config.encoder.max_positions) == ("bert-1-12-3", 16)
    assert (config.tokenizer.kind, config.tokenizer.size) == ("own", None)
    assert len(told) == 2
    method = assemble.build_method(config, facts=DataFacts(), load_start=True)
    theirs = BertModel.from_pretrained(folder)
    ours = method.encoder.embeddings.word_embeddings.weight
    assert torch.equal(ours, theirs.embeddings.word_embeddings.weight)


def test_a_head_that_the_folder_lacks_is_fresh(folder):
    fields = {"encoder.weights": str(folder), "encoder.pooler": "cls"}
    _, method = settled("simcse", **fields)
    assert method.encoder.head[0].weight.std() > 0
    assert not list(method.vectors.parameters())  # the head is the encoder's


def test_the_pooler_of_a_folder_is_imported_as_the_head(folder):
    import sslcli

    run = sslcli.import_weights(folder, out=folder / "run", overrides={"encoder.pooler": "cls"})
    theirs, text = BertModel.from_pretrained(folder).eval(), tokens()
    with torch.no_grad():
        vectors = sslcli.load(run.run).encoder(text.ids, text.mask)
        expected = theirs(text.ids, attention_mask=text.mask.long()).pooler_output
    torch.testing.assert_close(vectors, expected)
    assert "pooler is the head" in run.spelling


def test_the_tokenizer_of_a_run_is_taken_over_by_one_that_starts_from_it(tmp_path):
    import sslcli

    fast = {"train.duration": "1 epochs", "data.source": str(tmp_path / "own.txt")}
    (tmp_path / "own.txt").write_text("\n".join(TEXTS))
    fields = TINY | fast | {"train.batch_size": 8, "train.checkpoint_every": "1 epochs"}
    first = sslcli.pretrain("mlm", overrides=fields, out=tmp_path / "mlm")
    other = fields | {"encoder.name": "bert-1-4-1", "encoder.dropout": 0.1}
    second = sslcli.pretrain("simcse", overrides=other, init=tmp_path / "mlm", out=tmp_path / "two")
    assert second.config.encoder.name == "bert-2-8-2"
    assert second.config.tokenizer.digest == first.config.tokenizer.digest
    again = sslcli.pretrain("simcse", overrides=other, init=tmp_path / "mlm", out=tmp_path / "two",
                            resume=True)  # fmt: skip
    assert again.config == second.config
    vectors = second.embed(["a red one", "it"])
    assert vectors.shape == (2, 8)
    assert second.embed("it")[0] == pytest.approx(vectors[1], abs=1e-5)
    with pytest.raises(UsageError, match="no sentences"):
        second.embed([])
    result = sslcli.sts_eval(second, baseline=True)
    assert result.n == 1500
    assert {"spearman", "untrained", "phrases"} <= set(result.as_dict())


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"texts": [{"max_length": 99, "count": 2}]}, "longer than bert-2-8-2's positions"),
        ({"encoder.vocabulary": 8}, "numbers, the encoder 8 rows"),
        ({"encoder.name": "resnet8"}, "learns from sentences, and resnet8 reads images"),
        ({"encoder.pooler": "cls", "method.pooler": "avg"}, "would not learn by avg"),
        ({"tokenizer": {"kind": "own"}}, "the encoder starts from none"),
    ],
)
def test_what_does_not_fit_is_refused(fields, what):
    with pytest.raises(ConfigError, match=what):
        settled("simcse", **fields)


def test_a_tokenizer_that_is_not_of_the_weights_is_refused(folder, tmp_path):
    (tmp_path / "other").mkdir()
    file = tmp_path / "other" / "tokenizer.json"
    file.write_text(learn_words(TEXTS, 64).text)
    fields = {"encoder.weights": str(folder), "tokenizer": {"kind": "file", "file": str(file)}}
    with pytest.raises(ConfigError, match="does not belong to the weights"):
        settled("simcse", **fields)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match="no tokenizer lies beside"):
        settled("simcse", **{"encoder.weights": str(folder)})


def test_two_views_are_two_rows_of_one_pass_that_dropout_tells_apart():
    _, method = settled("simcse", **{"encoder.dropout": 0.1})
    a, b = method.train().embed(batch(tokens(), tokens()))
    assert not torch.allclose(a, b)
    a, b = method.eval().embed(batch(tokens(), tokens()))
    torch.testing.assert_close(a, b)


def test_a_head_of_training_is_not_kept_and_evaluation_reads_the_pooler():
    fields = {"method.pooler": "cls", "encoder.pooler": "cls_before_pooler"}
    _, method = settled("simcse", **fields)
    text = tokens()
    first = method.encoder.hidden_states(text.ids, text.mask)[-1][:, 0]
    torch.testing.assert_close(method.encoder(text.ids, text.mask), first)
    a, _ = method.embed(batch(text, text))
    torch.testing.assert_close(a, method.projector(first))
    assert not any(name.startswith("head") for name in method.encoder.state_dict())


def test_behind_a_frozen_encoder_the_head_alone_learns():
    fields = {"method.freeze": True, "encoder.pooler": "cls_before_pooler", "encoder.dropout": 0.1}
    _, method = settled("simcse", **fields, **{"method.pooler": "cls"})
    output = method.train()(batch(tokens(), tokens()), NOW)
    output.loss.backward()
    learns = {name for name, p in method.named_parameters() if p.grad is not None}
    assert learns == {"vectors.head.0.weight", "vectors.head.0.bias"}
    assert output.loss > 0  # the views differ: dropout stays
    with pytest.raises(ConfigError, match="there is none"):
        settled("consert", **{"method.freeze": True})


def test_a_head_that_is_not_there_cannot_be_read():
    _, method = settled("simcse")
    with pytest.raises(ConfigError, match="no head to read out"):
        assemble.method_read_out(method, "head")


def test_triplets_meet_every_hard_negative_and_their_own_by_its_weight():
    source = Groups("g", [(a, b, c) for a, b, c in zip(TEXTS, TEXTS[1:], TEXTS[2:], strict=False)])
    _, method = settled("simcse", source, texts=TRIPLE, **{"method.hard_weight": 1e-9})
    views = tokens(TEXTS[:4]), tokens(TEXTS[1:5]), tokens(TEXTS[2:6])
    weak = method(batch(*views), NOW)
    assert weak.chance == pytest.approx(math.log(8))
    plain = method(batch(*views[:2]), NOW)
    assert plain.loss < weak.loss < method_with(method, 1.0)(batch(*views), NOW).loss


def method_with(method, weight):
    method.config = method.config.model_copy(update={"hard_weight": weight})
    return method


def test_hidden_words_are_parts_of_texts_and_guessed_by_the_table():
    torch.manual_seed(0)
    _, method = settled("simcse", **{"method.mlm_weight": 0.1, "method.mask_probability": 0.5})
    text = tokens(TEXTS[:6])
    places, is_hidden = method.words._drawn(text)
    hidden = text.ids.gather(1, places)[is_hidden]
    assert hidden.min() > 4
    counts = is_hidden.sum(dim=1)
    inner = text.mask.sum(dim=1) - 2
    assert ((counts == inner // 2) | (counts == (inner + 1) // 2)).all()
    output = method(batch(text, text), NOW)
    assert output.metrics["mlm_loss"] == pytest.approx(math.log(method.config.vocabulary), abs=0.5)
    output.loss.backward()
    assert all(p.grad is not None for p in method.parameters())


def test_keys_are_of_the_original_by_the_average_and_begin_anew_each_epoch():
    fields = {"method.queue": 8, "train.batch_size": 4, "encoder.dropout": 0.1}
    _, method = settled("esimcse", **fields)
    method.train()
    assert not method.target.training
    text, longer = tokens(), tokens([f"{text} it" for text in TEXTS[:4]])
    outputs = [method(batch(text, longer), NOW) for _ in range(2)]
    keys = [output.carry["keys"] for output in outputs]
    assert torch.equal(*keys)  # without dropout
    torch.testing.assert_close(keys[0], method.target(text.ids, text.mask))
    before = method.target.embeddings.word_embeddings.weight.clone()
    with torch.no_grad():
        method.encoder.embeddings.word_embeddings.weight.add_(1.0)
    method.after_step(Progress(1, 10, 5), outputs[0].carry)
    moved = method.target.embeddings.word_embeddings.weight - before
    torch.testing.assert_close(moved, torch.full_like(moved, 1 - method.config.momentum))
    assert int(method.queue.held) == 4
    method.after_step(Progress(5, 10, 5), outputs[0].carry)
    assert int(method.queue.held) == 0


def test_a_queue_without_keys_is_simcse():
    _, method = settled("esimcse", **{"method.queue": 8, "train.batch_size": 4})
    torch.manual_seed(0)
    loss = method(batch(tokens(), tokens(TEXTS[1:5])), NOW).loss.item()
    _, plain = settled("simcse")
    plain.encoder.load_state_dict(method.encoder.state_dict())
    assert loss == pytest.approx(plain(batch(tokens(), tokens(TEXTS[1:5])), NOW).loss.item())


ONE = [{"max_length": 16}]


@pytest.mark.parametrize(
    "noise",
    [
        {"kind": "shuffle"},
        {"kind": "token_cutoff", "rate": 0.4},
        {"kind": "feature_cutoff", "rate": 0.3},
        {"kind": "dropout", "rate": 0.3},
        {"kind": "adversarial", "step": 1.0},
    ],
)
def test_each_noise_moves_its_view_and_not_the_other(noise):
    fields = {"texts": ONE, "method.first": {"kind": "none"}, "method.second": noise}
    _, method = settled("consert", **fields)
    text = tokens()
    clean, noisy = method.embed(batch(text))
    states = method.encoder.hidden_states(text.ids, text.mask)
    torch.testing.assert_close(clean, method.vectors(method.encoder, states, text.mask))
    assert (clean - noisy).norm(dim=1).min() > 1e-4
    output = method(batch(text), NOW)
    output.loss.backward()
    assert all(p.grad is not None for p in method.encoder.parameters())


def test_an_adversarial_step_has_its_length_and_leaves_the_weights_alone():
    noise = {"kind": "adversarial", "step": 0.5}
    fields = {"texts": ONE, "method.first": {"kind": "none"}, "method.second": noise}
    config, method = settled("consert", **fields)
    text = tokens()
    shift = method._adversarial(text, config.method.second)(torch.zeros(4, text.ids.shape[1], 8))
    torch.testing.assert_close(shift.norm(dim=2)[text.mask], torch.full((text.mask.sum(),), 0.5))
    assert all(p.grad is None for p in method.parameters())
    with pytest.raises(ConfigError, match="chunk_size"):
        settled("consert", **fields, **{"train.chunk_size": 2})


def test_pairs_with_classes_are_learned_jointly():
    fields = {"texts": TRIPLE[:2], "method.pair_classes": 3, "method.max_square": True}
    labels = torch.tensor([0, 1, 2, 0])
    pairs, classes = [(text, text) for text in TEXTS], torch.arange(24).numpy() % 3
    source = Groups("g", pairs, labels=classes, class_names=("x", "y", "z"))
    _, method = settled("consert", source, **fields)
    views = tokens(), tokens(TEXTS[1:5])
    output = method(batch(*views, labels=labels), NOW)
    assert {"pair_top1", "contrast_top1"} <= set(output.metrics)
    alone = settled("consert", source, **fields, **{"method.weight": 0.0})[1]
    assert alone(batch(*views, labels=labels), NOW).loss.item() == pytest.approx(
        math.log(3), abs=0.2
    )
    with pytest.raises(ConfigError, match="has no labels"):
        settled("consert", **fields)


@pytest.mark.parametrize("method", ["simcse", "esimcse", "consert"])
def test_chunks_give_the_gradient_of_the_whole(method):
    none = {"method.first": {"kind": "none"}, "method.second": {"kind": "none"}}
    _, made = settled(method, **(none if method == "consert" else {}))
    whole = batch(tokens(TEXTS[:6]), tokens(TEXTS[1:7]))
    grads = []
    for model in (made, Chunked(made, 2)):
        made.zero_grad()
        model(whole, NOW).loss.backward()
        grads.append([p.grad.clone() for p in made.parameters() if p.grad is not None])
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-4)


def test_equal_sentences_are_told_and_dropped_and_pairs_can_be_rows(tmp_path):
    (tmp_path / "own.csv").write_text("sent0,sent1\na dog,a cat\na dog,a cat\na dog,it rains\n")
    data = {"data.source": str(tmp_path / "own.csv"), "data.unique": True}
    rows = assemble.open_training(resolve("simcse/phrases", None, data).config).train
    assert [rows.sentences(row) for row in range(len(rows))] == [
        ("a dog", "a cat"), ("a dog", "it rains"),
    ]  # fmt: skip
    config = resolve("simcse/phrases", None, data | {"data.sentences": "all"}).config
    rows = assemble.open_training(config).train
    assert [rows.text(row) for row in range(len(rows))] == ["a dog", "a cat", "it rains"]


class Heard(Quiet):
    """Keep what is said."""

    def __init__(self):
        self.warned, self.noted = [], []

    def warn(self, text):
        self.warned.append(text)

    def note(self, text):
        self.noted.append(text)


def settled_for(preset, fields, source):
    return assemble.settled(resolve(preset, None, fields).config, source)


def test_cut_texts_are_counted(tmp_path, monkeypatch):
    monkeypatch.setenv("SSL_CACHE", str(tmp_path))
    source, heard = Sentences("own", [*TEXTS, "a " * 40]), Heard()
    config = settled_for(
        "mlm/phrases", {"data.source": "phrases", "texts.0.max_length": 24}, source
    )
    tell_of_texts(config, source, heard)
    assert heard.warned == [f"1 of {len(source)} sentences are longer than 24 tokens and cut"]


def test_equal_captions_are_told_before_training(tmp_path, monkeypatch):
    monkeypatch.setenv("SSL_CACHE", str(tmp_path))
    source, heard = Sentences("own", ["a dog", "a cat", "a dog"]), Heard()
    tell_of_texts(settled_for("clip/scenes-colour", {"train.batch_size": 2}, source), source, heard)
    assert heard.noted == [
        "1 of 3 images' first captions repeat another, 0.33 pairs a batch, which the loss takes "
        "for wrong answers to each other"
    ]


def test_real_text_from_random_weights_warns_and_equal_sentences_are_counted(folder):
    source, heard = Sentences("own", TEXTS), Heard()
    plain = {"data.source": "own.txt", "train.batch_size": 12}
    tell_of_texts(settled_for("simcse/phrases", plain, source), source, heard)
    assert "below the untrained one" in heard.warned[0]
    assert heard.noted[0].startswith("18 of 24 sentences repeat another, 8.6 pairs a batch")
    quiet = Heard()
    started = {"encoder.weights": str(folder), "texts": PAIR}
    for fields in ({"data.source": "phrases"}, started):
        tell_of_texts(settled_for("simcse/phrases", plain | fields, source), source, quiet)
    tell_of_texts(settled_for("mlm/phrases", plain, source), source, quiet)
    assert quiet.warned == []


def test_a_subset_of_pairs_keeps_all_sentences():
    source = Subset(Groups("g", [("a", "b", "c"), ("d", "e", "f")]), torch.tensor([1]).numpy(), "x")
    assert source.sentences(0) == ("d", "e", "f")
    assert source.columns == {"text", "pair", "triplet"}
