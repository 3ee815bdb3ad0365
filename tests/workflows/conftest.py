"""Checkpoints and images for tests that call workflows as a program does."""

import numpy as np
import pytest
from PIL import Image

from sslcli import assemble
from sslcli.config.presets import resolve
from sslcli.engine.checkpoint import save_checkpoint


@pytest.fixture(scope="session")
def encoder_run(tmp_path_factory):
    """Return the folder of a checkpoint of SimSiam with fresh weights, for images of 12 pixels."""
    fields = {"encoder.width": 4, "data.image_size": 12, "data.resize": 14, "views.0.size": 12}
    config = resolve("simsiam/digits", None, fields).config
    folder = tmp_path_factory.mktemp("runs") / "simsiam"
    folder.mkdir()
    tensors = assemble.build_method(config).state_dict()
    facts = {"step": 0, "data": {"images": 1438}, "learned": []}
    save_checkpoint(folder / "checkpoint.safetensors", tensors, config, facts)
    return folder


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """Return a folder of five images that differ in size, mode and turn."""
    folder = tmp_path_factory.mktemp("pictures")
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 4), dtype=np.uint8)
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(pixels[..., :3]).save(folder / "0.png")
    Image.fromarray(pixels[:, :17, :3]).save(folder / "1.jpg", exif=turned)
    Image.fromarray(pixels).save(folder / "2.png")
    Image.fromarray(pixels[..., 0]).save(folder / "3.png")
    Image.fromarray(pixels[..., 0].astype(np.uint16) * 257).save(folder / "4.png")
    return folder
