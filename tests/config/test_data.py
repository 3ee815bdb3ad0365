"""Which fields of `data` images need, and texts do not."""

import pytest

from sslcli.config.data import DataConfig
from sslcli.config.presets import resolve
from sslcli.errors import ConfigError


def test_views_of_images_need_every_field_that_makes_tensors_of_them():
    unset = {"data.mean": None, "data.image_size": None}
    with pytest.raises(ConfigError) as caught:
        resolve("simsiam/digits", None, unset)
    found = {fault.where: fault for fault in caught.value.faults()}
    assert set(found) == {"data.image_size", "data.mean"}
    assert found["data.mean"].what == "data.mean is missing, which images need"
    assert "data.mean=[0.5, 0.5, 0.5]" in found["data.mean"].hint


def test_data_without_images_has_no_pixels():
    texts = DataConfig(source="sentences.txt")
    with pytest.raises(ConfigError, match="image_size is missing"):
        _ = texts.pixels
