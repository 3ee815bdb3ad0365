from pathlib import Path

import pytest

BASE = """
[encoder]
name = "resnet8"
width = 8

[data]
image_size = 8
mean = [0.5, 0.5, 0.5]
std = [0.25, 0.25, 0.25]

[train]
duration = "2 epochs"
batch_size = 64

[schedule]
name = "cosine"

[evaluation]
k = 20
temperature = 0.1
"""
PAPER = """
extends = "_base/tiny"

[about]
summary = "A sample"

[method]
name = "simsiam"
projector_layers = 2
dim = 16
predictor_hidden = 4

[[views]]
count = 2
size = 8
crop_scale = [0.5, 1.0]
jitter = { brightness = 0.4, contrast = 0.4, saturation = 0.0, hue = 0.0, probability = 0.8 }

[optimizer]
name = "sgd"
base_lr = 0.05
lr_scaling = "linear"
momentum = 0.9
weight_decay = 1e-4
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with the presets sample/tiny and _base/tiny, which are looked up in it."""
    root = tmp_path / "own"
    for name, text in (("_base/tiny", BASE), ("sample/tiny", PAPER)):
        path = root / f"{name}.toml"
        path.parent.mkdir(parents=True)
        path.write_text(text)
    monkeypatch.setenv("SSL_PRESETS", str(root))
    return root
