"""The hub is asked only when that is allowed; without, its cache alone is looked at."""

import huggingface_hub
import pytest

from sslcli.errors import CheckpointError, ResourceError
from sslcli.nn.foreign.hub import local_folder, located


def test_without_download_only_the_cache_is_looked_at(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError, match="not in the cache") as caught:
        local_folder("hf:org/name", download=False)
    assert "with `download`" in caught.value.hint
    with pytest.raises(CheckpointError, match="no name of a model"):
        local_folder("hf:a/b/c", download=False)


def test_a_model_is_asked_for_by_name_and_revision(tmp_path, monkeypatch):
    asked = {}

    def answer(name, **options):
        asked.update(options, name=name)
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", answer)
    assert located("hf:org/name@abc", download=True) == tmp_path
    assert (asked["name"], asked["revision"], asked["local_files_only"]) == (
        "org/name",
        "abc",
        False,
    )
    assert "model.safetensors" in asked["allow_patterns"]
    assert not any("bin" in pattern for pattern in asked["allow_patterns"])  # no pickle is fetched
    located("hf:org/name", download=False)
    assert asked["local_files_only"] is True


def test_a_hub_out_of_reach_is_a_lack_of_resources(monkeypatch):
    def refuse(name, **options):
        raise OSError("no route")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(ResourceError, match="no route"):
        local_folder("hf:org/name", download=True)
