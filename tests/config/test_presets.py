import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from sslcli.config.presets import (
    config_hash,
    list_presets,
    preset_file,
    resolve,
    revise,
    to_toml,
)
from sslcli.errors import ConfigError, ExitCode, SslError

TINY = "sample/tiny"


def test_preset_inherits_and_names_itself(folder: Path):
    config = resolve(TINY).config
    assert config.preset == TINY
    assert config.encoder.width == 8
    assert config.optimizer.base_lr == 0.05


def test_layers_apply_in_order(folder: Path):
    file = folder / "mine.toml"
    file.write_text("seed = 1\n[train]\nbatch_size = 32\nkeep = 3\naccumulate = 2\n")
    options = {"train.batch_size": 16, "train.keep": 4}
    config = resolve(TINY, file, options, ["train.keep=5"]).config
    assert (config.seed, config.train.batch_size, config.train.keep) == (1, 16, 5)
    assert config.train.accumulate == 2


def test_sources_name_file_or_option(folder: Path):
    sources = resolve(TINY, None, {"seed": 3}, ["views.0.size=16"]).sources
    assert sources["encoder.width"] == str(folder / "_base/tiny.toml")
    assert sources["optimizer.momentum"] == str(folder / "sample/tiny.toml")
    assert sources["views.0.size"] == "`overrides` views.0.size=16"
    assert sources["views.0.count"] == str(folder / "sample/tiny.toml")
    assert sources["preset"] == f"`preset` {TINY}"
    assert sources["seed"] == "command-line option"
    assert "train.keep" not in sources


def test_config_file_may_extend_a_preset(folder: Path):
    file = folder / "mine.toml"
    file.write_text(f'extends = "{TINY}"\nseed = 7\n')
    assert resolve(config_file=file).config.seed == 7


def test_none_unsets_what_files_say(folder: Path):
    file = folder / "mine.toml"
    file.write_text('data.test = "elsewhere"\n')
    assert resolve(TINY, file).config.data.test == "elsewhere"
    assert resolve(TINY, file, {"data.test": None}).config.data.test is None


def test_views_are_replaced_as_a_whole(folder: Path):
    file = folder / "mine.toml"
    file.write_text("[[views]]\ncount = 3\nsize = 4\ncrop_scale = [0.1, 0.2]\n")
    (view,) = resolve(TINY, file).config.views
    assert (view.count, view.jitter) == (3, None)


def test_nothing_to_run_is_an_error():
    with pytest.raises(ConfigError, match="nothing says what to run"):
        resolve()


@pytest.mark.parametrize("name", list_presets())
def test_resolved_preset_reads_back_as_itself(name: str, tmp_path: Path):
    config = resolve(name).config
    file = tmp_path / "config.toml"
    file.write_text(to_toml(config), "utf-8")
    again = resolve(config_file=file).config
    assert again == config
    assert to_toml(again) == to_toml(config)
    assert config_hash(again) == config_hash(config)


def test_shared_files_are_no_presets(folder: Path):
    assert TINY in list_presets()
    assert not any(name.startswith("_base") for name in list_presets())
    assert preset_file(TINY) == folder / "sample/tiny.toml"


@pytest.mark.parametrize(
    "text", ['a "quoted", [x]\\,', "line\nline", "\x00\x7f\u2028", "ä 😀", ",\n]"]
)
def test_any_text_reads_back(folder: Path, text: str):
    config = resolve(TINY, None, {"about.summary": text, "data.source": text}).config
    file = folder / "out.toml"
    file.write_text(to_toml(config), "utf-8")
    assert resolve(config_file=file).config == config


@pytest.mark.parametrize("value", [1e-300, 5e-324, 0.1 + 0.2, 1e22, 123456789.123456789])
def test_floats_read_back_exactly(folder: Path, value: float):
    config = resolve(TINY, None, {"optimizer.base_lr": value}).config
    file = folder / "out.toml"
    file.write_text(to_toml(config), "utf-8")
    assert resolve(config_file=file).config.optimizer.base_lr == value


def test_short_lists_stay_on_one_line(folder: Path):
    assert "mean = [0.5, 0.5, 0.5]\n" in to_toml(resolve(TINY).config)


def test_revision_starts_from_a_checkpoints_config(folder: Path):
    config = resolve(TINY).config
    revised = revise(config, {"seed": 5, "data.test": None}, ["train.batch_size=32"])
    assert (revised.seed, revised.train.batch_size) == (5, 32)
    assert revise(config, {}) == config
    with pytest.raises(ConfigError, match=r"train\.batch_size must be an integer"):
        revise(config, {}, ["train.batch_size=0"])


def test_hash_depends_on_what_decides_the_result_alone(folder: Path):
    base = config_hash(resolve(TINY).config)
    assert len(base) == 64
    for same in ("data.root=elsewhere", "train.keep=9", "about.summary=x", "data.workers=3"):
        assert config_hash(resolve(TINY, None, {}, [same]).config) == base
    for other in ("seed=1", "train.precision=fp32", "views.0.size=4", "data.source=cifar10"):
        assert config_hash(resolve(TINY, None, {}, [other]).config) != base


def test_hash_is_the_same_in_another_process():
    code = (
        "from sslcli.config.presets import config_hash, resolve\n"
        "print(config_hash(resolve('simsiam/digits').config))"
    )
    printed = subprocess.check_output([sys.executable, "-c", code], text=True).strip()
    assert printed == config_hash(resolve("simsiam/digits").config)


def attempt(*arguments) -> bool:
    """Return whether it resolves; hold every fault to its form otherwise."""
    try:
        resolve(*arguments)
    except SslError as error:
        faults, code = error.faults(), error.exit_code
    else:
        return True
    assert code == ExitCode.WRONG_USE
    assert all(fault.what and fault.where for fault in faults)
    return False


def mutated(text: str, draw: random.Random) -> str:
    """Return a text with a character, word or line dropped, doubled, moved or replaced."""
    joint = draw.choice(["", " ", "\n", "\n"])
    pieces = text.split(joint) if joint else list(text)
    i, j = draw.randrange(len(pieces)), draw.randrange(len(pieces))
    odd = [
        "",
        "[",
        "'",
        "-1",
        "nan",
        "1e999",
        "true",
        "{}",
        "\x01",
        "[[views]]",
        "[data]",
        "a.b = 1",
    ]
    pieces[i] = draw.choice([draw.choice(odd), pieces[j], pieces[i] + joint + pieces[i]])
    return joint.join(pieces)


@pytest.mark.parametrize("seed", range(8))
def test_mutated_presets_give_faults_or_configs(folder: Path, seed: int):
    draw = random.Random(seed)
    file = folder / "sample/tiny.toml"
    text = file.read_text()
    for _ in range(50):
        file.write_text(mutated(text, draw), "utf-8")
        attempt(TINY)


ODD = [
    "", "-1", "nan", "0", "true", "[]", "{}", "[[1]]", "lars", '"5%"', "0xffffffffffffffffff",
    "{name='adam'}", "1979-05-27", "'", "x" * 300, "[1, 'a']", ".5", "3 epochs",
]  # fmt: skip


@pytest.mark.parametrize("seed", range(8))
def test_random_overrides_give_faults_or_configs(folder: Path, seed: int):
    draw = random.Random(seed)
    keys = [
        *resolve(TINY).sources,
        "optimizer",
        "views.0",
        "views",
        "method.name",
        "a.b",
        "views.9.x",
    ]
    for _ in range(50):
        picked = [f"{draw.choice(keys)}={draw.choice(ODD)}" for _ in range(draw.randint(1, 4))]
        attempt(TINY, None, {}, picked)


def test_json_of_a_config_is_plain(folder: Path):
    dumped = resolve(TINY).config.model_dump(mode="json")
    assert json.loads(json.dumps(dumped)) == dumped


@pytest.mark.parametrize("length", ["0%", "0 steps", "0 epochs"])
def test_no_length_switches_the_online_measurement_off(length):
    assert resolve("simsiam/digits").config.evaluation.online_every
    changed = resolve("simsiam/digits", None, {"evaluation.online_every": length}).config
    assert changed.evaluation.online_every is None
