"""CLIP's towers against transformers' and their own promises."""

import pytest
import torch

from sslcli.config.encoder import EncoderConfig
from sslcli.errors import ConfigError
from sslcli.nn.encoders import build_encoder


def text_tower(**fields):
    config = EncoderConfig(name="clip-text-2-16-2", vocabulary=30, max_positions=9, **fields)
    return build_encoder(config).eval()


def test_a_text_is_read_at_its_last_token_whatever_follows():
    encoder, ids = text_tower(), torch.tensor([[5, 6, 7, 1, 2], [5, 6, 7, 9, 9]])
    mask = torch.arange(5) < torch.tensor([[3], [3]])
    first, second = encoder(ids, mask)
    torch.testing.assert_close(first, second)
    alone = encoder(ids[:1, :3], mask[:1, :3])[0]
    torch.testing.assert_close(first, alone)
    longer = encoder(ids[:1], torch.ones(1, 5, dtype=torch.bool))[0]
    assert (longer - first).abs().max() > 1e-3


def test_no_token_sees_those_behind_it():
    encoder, ids = text_tower(), torch.tensor([[5, 6, 7], [5, 6, 8]])
    with torch.no_grad():
        states = encoder.transformer(encoder.token_embedding(ids))
    torch.testing.assert_close(states[0, :2], states[1, :2])
    assert not torch.equal(states[0, 2], states[1, 2])


def test_a_text_without_tokens_gives_numbers():
    ids = torch.zeros(1, 2, dtype=torch.int64)
    assert text_tower()(ids, ids.bool()).isfinite().all()


def test_an_image_of_another_size_is_seen_through_interpolated_places():
    config = EncoderConfig(name="clip-vit-1-16-2", patch_size=8)
    encoder = build_encoder(config, 16).eval()
    assert encoder(torch.zeros(2, 3, 24, 24)).shape == (2, 16)
    with pytest.raises(ConfigError, match="do not divide into patches of 8"):
        encoder(torch.zeros(2, 3, 20, 20))


def test_the_pool_of_a_resnet_gives_half_the_channels_or_what_is_asked():
    for outputs, expected in ((None, 64), (24, 24)):
        config = EncoderConfig(name="clip-resnet50", width=4, outputs=outputs)
        encoder = build_encoder(config, 32)
        assert encoder.feature_dim == expected
        assert encoder(torch.zeros(2, 3, 32, 32)).shape == (2, expected)


@pytest.mark.parametrize(
    ("fields", "size", "told"),
    [
        ({"name": "clip-vit-1-16-3", "patch_size": 8}, 16, "3 heads cannot share 16 entries"),
        ({"name": "clip-vit-1-16-2", "patch_size": 7}, 16, "do not divide into patches"),
        ({"name": "clip-resnet50"}, 48, "a multiple of 32 pixels, not of 48"),
        ({"name": "clip-resnet50", "width": 3}, 32, "cannot be 3 wide"),
        ({"name": "clip-text-1-16-3", "vocabulary": 9}, 0, "3 heads cannot share 16 entries"),
        ({"name": "clip-text-1-16-2"}, 0, "how many numbers"),
        ({"name": "clip-text-1-16-2", "vocabulary": 9, "patch_size": 4}, 0, "has no patch_size"),
    ],
)
def test_settings_that_do_not_fit_are_refused(fields, size, told):
    with pytest.raises(ConfigError, match=told):
        build_encoder(EncoderConfig(**fields), size)
