"""An encoder of sentences in the formats of other tools."""

import json

import pytest
import torch
from torch import nn

from sslcli.config import families
from sslcli.config.encoder import EncoderConfig
from sslcli.config.families import Family
from sslcli.formats import FORMATS, ExportMeta, TextInput, export_encoder
from sslcli.nn.encoders import build_encoder

INPUTS = TextInput(max_length=7, vocabulary=20)


class MeanOfWords(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.feature_dim = nn.Embedding(20, 5), 5

    def forward(self, ids, mask):
        mask = mask[:, :, None].float()
        return (self.words(ids) * mask).sum(dim=1) / mask.sum(dim=1)


def build(config, image_size):
    return MeanOfWords()


@pytest.fixture
def meta(monkeypatch):
    family = Family("mean-of-words".__eq__, f"{__name__}:build", reads="text")
    monkeypatch.setattr(families, "FAMILIES", [*families.FAMILIES, family])
    return ExportMeta(EncoderConfig(name="mean-of-words"), INPUTS)


@pytest.mark.parametrize("format", ["safetensors", "pt2", "onnx"])
def test_every_format_gives_the_same_features(tmp_path, meta, format):
    if format == "onnx":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
    encoder = build_encoder(meta.encoder)
    report = export_encoder(format, encoder, meta, tmp_path / f"text{FORMATS[format]}")
    assert report.compared == 9
    assert report.max_abs_error <= report.tolerance
    assert "at most 7" in report.notes[0]


def test_a_program_takes_sentences_of_any_number_and_length(tmp_path, meta):
    encoder = build_encoder(meta.encoder)
    report = export_encoder("pt2", encoder, meta, tmp_path / "text.pt2")
    scope = {"ids": torch.tensor([[3, 4]]), "mask": torch.tensor([[True, False]])}
    exec("\n".join(report.notes), scope)
    torch.testing.assert_close(scope["features"], encoder.words.weight[3:4])
    extra = {"metadata.json": ""}
    torch.export.load(report.path, extra_files=extra)
    assert json.loads(extra["metadata.json"])["vocabulary"] == "20"
