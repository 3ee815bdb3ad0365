"""Encoders of sentences are transformers' own networks, with one vector a sentence."""

import pytest
import torch
from transformers import BertConfig, BertModel, RobertaConfig, RobertaModel

from sslcli.config.encoder import EncoderConfig
from sslcli.errors import ConfigError
from sslcli.nn.bert import HasHiddenStates
from sslcli.nn.encoders import build_encoder
from sslcli.nn.pooling import pool
from sslcli.nn.weights import load_encoder_weights

SMALL = {"vocab_size": 40, "hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3}
IDS = torch.tensor([[0, 5, 6, 7, 2], [0, 8, 2, 1, 1]])
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]).bool()


def built(name="bert-2-12-3", **fields):
    torch.manual_seed(0)
    return build_encoder(EncoderConfig(name=name, vocabulary=40, max_positions=16, **fields))


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_a_folder_s_weights_give_its_hidden_states(kind, tmp_path):
    torch.manual_seed(1)
    small = SMALL | {"intermediate_size": 48}
    if kind == "bert":
        theirs = BertModel(BertConfig(max_position_embeddings=16, **small))
    else:
        special = {"max_position_embeddings": 18, "type_vocab_size": 1, "layer_norm_eps": 1e-5}
        theirs = RobertaModel(RobertaConfig(**special, **small))
    theirs.save_pretrained(tmp_path)
    encoder = built(f"{kind}-2-12-3").eval()
    report = load_encoder_weights(encoder, tmp_path)
    assert {name.split(".")[0] for name in report.ignored} == {"pooler"}
    found = encoder.hidden_states(IDS, MASK)
    with torch.no_grad():
        expected = theirs.eval()(IDS, MASK.long(), output_hidden_states=True).hidden_states
    for ours, other in zip(found, expected, strict=True):
        torch.testing.assert_close(ours[MASK], other[MASK], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("pooler", ["avg", "avg_top2", "avg_first_last", "cls_before_pooler"])
def test_the_vector_is_that_of_its_pooler(pooler):
    encoder = built(pooler=pooler).eval()
    assert isinstance(encoder, HasHiddenStates)
    expected = pool(encoder.hidden_states(IDS, MASK), MASK, pooler.removesuffix("_before_pooler"))
    assert torch.equal(encoder(IDS, MASK), expected)


def test_cls_stands_behind_a_fresh_head_of_one_layer_and_tanh():
    encoder = built(pooler="cls").eval()
    first = encoder.hidden_states(IDS, MASK)[-1][:, 0]
    weight = encoder.head[0].weight
    torch.testing.assert_close(encoder(IDS, MASK), torch.tanh(first @ weight.T))
    assert 0.01 < weight.std() < 0.03


def test_what_is_padded_does_not_matter_and_what_has_no_token_is_finite():
    encoder = built(pooler="avg").eval()
    alone = encoder(IDS[1:, :3], MASK[1:, :3])
    torch.testing.assert_close(encoder(IDS, MASK)[1:], alone, atol=1e-6, rtol=1e-5)
    assert encoder(IDS, torch.zeros_like(MASK)).isfinite().all()


def test_positions_and_a_change_act_behind_the_embeddings():
    encoder = built().eval()
    turned = torch.arange(5).flip(0)[None]
    moved = encoder.hidden_states(IDS, MASK, positions=turned)[0]
    swapped = encoder.hidden_states(IDS.flip(1), MASK.flip(1))[0].flip(1)
    torch.testing.assert_close(moved, swapped)
    zero = encoder.hidden_states(IDS, MASK, change=torch.zeros_like)
    assert zero[0].abs().max() == 0
    torch.nn.init.zeros_(encoder.embeddings.position_embeddings.weight)
    plain = encoder.hidden_states(IDS, MASK)[-1]
    shuffled = encoder.hidden_states(IDS, MASK, positions=turned.expand(2, 5))[-1]
    torch.testing.assert_close(shuffled, plain)


def test_dropout_is_noise_in_training_alone():
    encoder = built(dropout=0.1)
    assert not torch.equal(encoder(IDS, MASK), encoder(IDS, MASK))
    assert torch.equal(encoder.eval()(IDS, MASK), encoder(IDS, MASK))
    quiet = built(dropout=0.0)
    assert torch.equal(quiet(IDS, MASK), quiet(IDS, MASK))


def test_a_size_that_heads_cannot_share_is_refused():
    with pytest.raises(ConfigError, match="3 heads cannot share 10"):
        built("bert-2-10-3")
    with pytest.raises(ConfigError, match="numbers there are for tokens"):
        build_encoder(EncoderConfig(name="bert-1-4-2"))
