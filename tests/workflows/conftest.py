"""Checkpoints and images for tests that call workflows as a program does."""

import numpy as np
import pytest
from PIL import Image

from sslcli import assemble
from sslcli.config.presets import resolve
from sslcli.data.text.kept import keep, remember
from sslcli.data.text.learned import learn_words
from sslcli.engine.checkpoint import save_checkpoint
from sslcli.listener import Quiet


class Told(Quiet):
    """Keeps the notes and the warnings that it is told."""

    def __init__(self):
        self.notes, self.warnings = [], []

    def note(self, text):
        self.notes.append(text)

    def warn(self, text):
        self.warnings.append(text)


@pytest.fixture
def told():
    """Return a listener that keeps what it is told."""
    return Told()


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


@pytest.fixture(scope="session")
def captioned(tmp_path_factory):
    """Return a folder of eight pictures of 8 pixels of two colours, a caption beside each."""
    root = tmp_path_factory.mktemp("captioned")
    for row in range(8):
        name, colour = (("red", (220, 30, 30)), ("blue", (30, 30, 220)))[row % 2]
        folder = root / ("train" if row < 4 else "test") / name
        folder.mkdir(exist_ok=True, parents=True)
        grain = np.random.default_rng(row).integers(0, 30, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(np.array(colour, dtype=np.uint8) + grain).save(folder / f"{row}.png")
        (folder / f"{row}.txt").write_text(f"a {name} picture")
    return root


@pytest.fixture(scope="session")
def two_towers(tmp_path_factory, captioned):
    """Return the folder of a checkpoint of CLIP with fresh weights, for images of 8 pixels."""
    return write_clip(tmp_path_factory.mktemp("runs") / "clip", captioned)


@pytest.fixture(scope="session")
def clip_run():
    """Return the function that writes a checkpoint of CLIP."""
    return write_clip


def write_clip(folder, data, **fields):
    """Write a checkpoint of CLIP with CLIP's own towers and fresh weights, and a tokenizer."""
    tokenizer = learn_words(["a red picture", "a blue picture"], 64)
    fields = {
        "method.dim": 6, "encoder.name": "clip-vit-1-16-2", "encoder.patch_size": 4,
        "text_encoder.name": "clip-text-1-16-2", "text_encoder.vocabulary": tokenizer.vocabulary,
        "text_encoder.max_positions": 7,
        "tokenizer": {"kind": "own", "digest": remember(tokenizer)},
        "data.source": str(data), "data.image_size": 8, "data.resize": 9, "views.0.size": 8,
        "texts.0.max_length": 7, "data.workers": 0, **fields,
    }  # fmt: skip
    config = resolve("clip/vit-b32", None, fields).config
    folder.mkdir()
    if config.tokenizer:
        keep(config.tokenizer.digest, folder)
    tensors = assemble.build_method(config).state_dict()
    facts = {"step": 0, "data": {"images": 4, "classes": ["blue", "red"]}, "learned": []}
    save_checkpoint(folder / "checkpoint.safetensors", tensors, config, facts)
    return folder
