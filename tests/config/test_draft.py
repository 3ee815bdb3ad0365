from pathlib import Path

import pytest

from sslcli.config.encoder import EncoderConfig
from sslcli.config.presets import resolve
from sslcli.errors import ConfigError

TINY = "sample/tiny"


def faults(*overrides: str, file: Path | None = None) -> dict[str, tuple[str, str]]:
    """Return where and hint of every fault, by what."""
    with pytest.raises(ConfigError) as caught:
        resolve(TINY, file, {}, overrides)
    return {fault.what: (fault.where, fault.hint) for fault in caught.value.faults()}


def test_last_override_wins(folder: Path):
    assert resolve(TINY, None, {}, ["seed=1", "seed=2"]).config.seed == 2


def test_list_items_are_reached_by_index(folder: Path):
    view = resolve(TINY, None, {}, ["views.0.size=4", "views.0.crop_scale.0=0.25"]).config.views[0]
    assert (view.size, view.crop_scale, view.count) == (4, (0.25, 1.0), 2)


def test_sections_begin_with_an_override(folder: Path):
    overrides = ["views.0.blur.probability=0.5", "views.0.blur.sigma=[0.1, 2.0]"]
    assert resolve(TINY, None, {}, overrides).config.views[0].blur.sigma == (0.1, 2.0)


def test_removed_fields_have_their_default(folder: Path):
    assert resolve(TINY, None, {}, ["views.0.jitter=", "seed="]).config.views[0].jitter is None


def test_another_optimizer_sheds_what_presets_gave_the_old(folder: Path):
    optimizer = resolve(TINY, None, {}, ["optimizer.name=adamw"]).config.optimizer
    assert (optimizer.name, optimizer.base_lr, optimizer.weight_decay) == ("adamw", 0.05, 1e-4)


def test_shared_fields_survive_a_change_of_optimizer(folder: Path):
    overrides = ["optimizer.name=lars", "optimizer.trust=0.001"]
    optimizer = resolve(TINY, None, {}, overrides).config.optimizer
    assert (optimizer.momentum, optimizer.trust) == (0.9, 1e-3)


def test_another_optimizer_says_what_it_lacks(folder: Path):
    found = faults("optimizer.name=lars")
    expected = ("`overrides` optimizer.name=lars", "give it a number above 0")
    assert found == {"optimizer.trust is missing": expected}


@pytest.mark.parametrize(
    "overrides",
    [
        ("optimizer.momentum=0.5", "optimizer.name=adam"),
        ("optimizer.name=adam", "optimizer.momentum=0.5"),
    ],
)
def test_wishes_of_the_command_line_are_never_dropped(folder: Path, overrides):
    hint = "it belongs to optimizer.name sgd or lars or rmsprop"
    where = "`overrides` optimizer.momentum=0.5"
    assert faults(*overrides) == {"there is no field optimizer.momentum": (where, hint)}


def test_wish_of_a_config_file_is_never_dropped(folder: Path):
    file = folder / "mine.toml"
    file.write_text("optimizer.nesterov = true\n")
    (what,) = faults("optimizer.name=adam", file=file)
    assert what == "there is no field optimizer.nesterov"


def test_config_file_that_chose_the_old_optimizer_gives_way(folder: Path):
    file = folder / "mine.toml"
    file.write_text('[optimizer]\nname = "sgd"\nnesterov = true\n')
    assert resolve(TINY, file, {}, ["optimizer.name=adam"]).config.optimizer.name == "adam"


def test_nested_optimizer_sheds_too(folder: Path):
    file = folder / "mine.toml"
    file.write_text(
        "[evaluation.linear]\n"
        'duration = "1 epochs"\nbatch_size = 8\nschedule = {name = "cosine"}\n'
        "views = [{count = 1, size = 8, crop_scale = [1.0, 1.0]}]\n"
        "[evaluation.linear.optimizer]\n"
        'name = "sgd"\nmomentum = 0.9\nbase_lr = 1\nlr_scaling = "none"\nweight_decay = 0\n'
    )
    config = resolve(TINY, file, {}, ["evaluation.linear.optimizer.name=adam"]).config
    assert config.evaluation.linear.optimizer.name == "adam"


def test_an_encoder_of_another_family_sheds_what_it_lacks(folder: Path):
    (folder / "sample" / "wide.toml").write_text(
        'extends = "sample/tiny"\n[encoder]\nname = "resnet18"\nstem = "cifar"\nwidth = 32\n'
        "zero_init_residual = true\nnormalize_features = true\n"
    )
    child = folder / "sample" / "child.toml"
    child.write_text('extends = "sample/wide"\n[encoder]\nname = "vit-tiny"\npatch_size = 4\n')
    for encoder in (
        resolve("sample/child").config.encoder,
        resolve(
            "sample/wide", None, {}, ["encoder.name=vit-tiny", "encoder.patch_size=4"]
        ).config.encoder,
    ):
        expected = {"name": "vit-tiny", "patch_size": 4, "normalize_features": True}
        assert encoder == EncoderConfig(**expected)
    same = resolve("sample/wide", None, {}, ["encoder.name=resnet34"]).config.encoder
    assert (same.stem, same.width) == ("cifar", 32)


def test_a_setting_that_one_gives_another_family_oneself_stays(folder: Path):
    overrides = ["encoder.stem_stride=2", "encoder.name=vit-tiny"]
    assert resolve(TINY, None, {}, overrides).config.encoder.stem_stride == 2


def test_a_table_given_whole_replaces(folder: Path):
    jitter = "{brightness=0.1, contrast=0.1, saturation=0.1, hue=0.1, probability=1.0}"
    config = resolve(TINY, None, {}, [f"views.0.jitter={jitter}"]).config
    assert config.views[0].jitter.brightness == 0.1
    assert "views.0.jitter.hue is missing" in faults("views.0.jitter={brightness=0.1}")


@pytest.mark.parametrize(
    ("override", "what"),
    [
        ("views.3.size=1", "views has no 3"),
        ("views.x.size=1", "views has no x"),
        ("views.-1.size=1", "views has no -1"),
        ("seed.x=1", "seed must be"),
        ("optimizer.base_lr.x=1", "optimizer.base_lr is no table, so it has no x"),
        ("views.0=", "views is a list; set it as a whole"),
        ("x" + ".x" * 40 + "=1", "tables are nested more than 16 deep"),
        ("seed=99999999999999999999", "an integer does not fit in 64 bits"),
    ],
)
def test_paths_that_lead_nowhere_are_refused(folder: Path, override: str, what: str):
    assert any(found.startswith(what) for found in faults(override))


def test_crowds_of_values_are_refused(folder: Path, tmp_path: Path):
    file = tmp_path / "crowd.toml"
    file.write_text("".join(f"a{i} = 1\n" for i in range(6_000)))
    (what,) = faults(file=file)
    assert what == "there are more than 5,000 values"
