"""A method in a file of the user's own: the example, and what can be wrong with one."""

import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from sslcli import assemble
from sslcli.config.presets import resolve, to_toml
from sslcli.errors import ConfigError
from sslcli.methods import custom
from sslcli.methods.custom import completed, load_class, name_code
from sslcli.methods.registry import method_class

FILE = Path(__file__).parents[2] / "examples" / "custom_method.py"
VICREG = f"{FILE}:VICReg"


@pytest.fixture(autouse=True)
def _named(monkeypatch):
    monkeypatch.setattr(custom, "_named", {})
    name_code(VICREG)


def config(**fields):
    return resolve("simsiam/digits", None, {"method.name": VICREG} | fields).config


def test_the_example_is_built_from_its_own_fields():
    method = assemble.build_method(config(**{"method.dim": 16, "method.expander_layers": 2}))
    assert type(method) is method_class(VICREG)
    assert [m.out_features for m in method.expander if isinstance(m, torch.nn.Linear)] == [16, 16]


def test_a_run_keeps_defaults_and_not_the_other_methods_fields(tmp_path):
    written = completed(config())
    assert written.method.model_dump()["invariance"] == 25.0
    assert "predictor_hidden" not in written.method.model_dump()
    (tmp_path / "config.toml").write_text(to_toml(written))
    assert resolve(config_file=tmp_path / "config.toml").config == written


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [("method.dims", 3, r"method\.dims"), ("method.expander_layers", 7, r"expander_layers")],
)
def test_wrong_fields_are_named(field, value, message):
    with pytest.raises(ConfigError, match=message):
        completed(config(**{field: value}))


def test_too_few_views_are_an_error():
    one = config().model_copy(update={"views": config().views[:1]})
    one = one.model_copy(update={"views": (one.views[0].model_copy(update={"count": 1}),)})
    with pytest.raises(ConfigError, match="at least 2 views"):
        completed(one)


TEXTS = """
from sslcli.config.section import MethodSection
from sslcli.methods.base import Method
class Mine(Method):
    class Section(MethodSection):
        reads, min_views, min_texts = frozenset({"text"}), 0, 2
    def forward(self, batch, progress): pass
"""


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"views": []}, "there must be views of images, or texts"),
        ({"views": [], "texts": [{"max_length": 8}]}, "at least 2 texts, got 1"),
        ({"texts": [{"count": 2, "max_length": 8}]}, "reads no image: set views to"),
        ({"views": [], "texts": [{"count": 2, "max_length": 8}]}, ""),
    ],
)
def test_a_method_of_texts_needs_texts_and_no_views(tmp_path, fields, message):
    (tmp_path / "mine.py").write_text(TEXTS)
    name_code(f"{tmp_path}/mine.py:Mine")
    with pytest.raises(ConfigError, match=message) if message else nullcontext():
        completed(config(method={"name": f"{tmp_path}/mine.py:Mine"}, **fields))


def test_a_method_of_images_is_given_no_texts():
    with pytest.raises(ConfigError, match="simsiam reads no text: set texts to"):
        resolve("simsiam/digits", None, {"texts": [{"max_length": 8}]})


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("x = 1", "has no class Mine"),
        ("class Mine: pass", "is no method"),
        ("import nowhere_to_be_found", "cannot be imported"),
        (
            "from sslcli.methods.base import Method\nclass Mine(Method):\n    forward = None",
            "which fields it has",
        ),
    ],
)
def test_a_file_that_does_not_fit_says_why(tmp_path, source, message):
    (tmp_path / "mine.py").write_text(source)
    name_code(f"{tmp_path}/mine.py:Mine")
    with pytest.raises(ConfigError, match=message):
        load_class(f"{tmp_path}/mine.py:Mine")


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="there is no file"):
        load_class(f"{tmp_path}/mine.py:Mine")


def test_the_examples_loss_is_vicregs():
    torch.manual_seed(0)
    a = torch.randn(8, 4)
    module = sys.modules[method_class(VICREG).__module__]
    centred = a - a.mean(dim=0)
    expected = torch.cov(a.T)
    off_diagonal = expected - torch.diag(torch.diag(expected))
    torch.testing.assert_close(module.correlation(centred), off_diagonal.square().sum() / 4)
    short = (1 - (a.var(dim=0) + 1e-4).sqrt()).clamp(min=0).mean()
    torch.testing.assert_close(module.low_variance(centred), short)
