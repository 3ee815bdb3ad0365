"""The maps of a vision transformer, as numbers and as a figure."""

import numpy as np
import pytest

import sslcli
from sslcli import assemble
from sslcli.config.presets import resolve
from sslcli.engine.checkpoint import save_checkpoint
from sslcli.errors import UsageError


@pytest.fixture(scope="module")
def transformer(tmp_path_factory):
    """Return a checkpoint of a small vision transformer with fresh weights."""
    config = resolve("dino/digits-vit").config
    file = tmp_path_factory.mktemp("vit") / "checkpoint.safetensors"
    facts = {"step": 0, "data": {"images": 1442}, "learned": []}
    save_checkpoint(file, assemble.build_method(config).state_dict(), config, facts)
    return file


def test_each_head_has_a_map_whose_weights_are_shares(transformer, tmp_path):
    found = sslcli.attention(transformer, count=3, out=tmp_path / "maps.png", device="cpu")
    assert found.maps.shape[:2] == (3, 4)
    assert found.maps.dtype == np.float32
    assert (found.maps > 0).all()
    assert all(0 < weight < 1 for weight in found.patch_weight_by_head)
    assert len(found.images) == 3
    assert found.path.stat().st_size > 1000


def test_an_encoder_without_a_class_token_is_refused(encoder_run, tmp_path):
    with pytest.raises(UsageError, match="no vision transformer of ours"):
        sslcli.attention(encoder_run, out=tmp_path / "maps.png", device="cpu")
    assert not list(tmp_path.iterdir())
