from pathlib import Path

import pytest

from sslcli.config.explain import nearest
from sslcli.config.methods.registry import SECTIONS
from sslcli.config.presets import resolve
from sslcli.errors import ConfigError, SslError

TINY = "sample/tiny"


def faults(*overrides: str) -> list[SslError]:
    with pytest.raises(ConfigError) as caught:
        resolve(TINY, None, {}, overrides)
    return list(caught.value.faults())


@pytest.mark.parametrize(
    ("override", "what"),
    [
        ("train.batch_size=0", "train.batch_size must be an integer of at least 1, not 0"),
        ("train.batch_size=true", "train.batch_size must be an integer of at least 1, not true"),
        ("train.batch_size=2.5", "train.batch_size must be an integer of at least 1, not 2.5"),
        ("train.compile=1", "train.compile must be true or false, not 1"),
        ("optimizer.base_lr=nan",
         "optimizer.base_lr must be a number above 0 and of at most 1e+30, not nan"),
        ("optimizer.base_lr=1e38",
         "optimizer.base_lr must be a number above 0 and of at most 1e+30, not 1e+38"),
        ("optimizer.weight_decay=1e31",
         "optimizer.weight_decay must be a number from 0 to 1e+30, not 1e+31"),
        ("train.loss_limit=1e39", "train.loss_limit: float32 ends at 3.4e+38"),
        ("data.std=[1.0, 1.0, 1e39]", "data.std: float32 ends at 3.4e+38"),
        ("data.source=3", "data.source must be text, not 3"),
        ("seed=-1", "seed must be an integer of at least 0 and below 2147483648, not -1"),
        ("views.0.flip=2", "views.0.flip must be a number from 0 to 1, not 2"),
        ("data.workers=-1", 'data.workers must be an integer of at least 0, or "auto", not -1'),
        ("data.mean=[1]", "data.mean must be 3 values, each a number, not [1]"),
        ("views.0.crop_scale=[0, 2]",
         "views.0.crop_scale must be 2 values, each a number from 0 to 1, not [0, 2]"),
        ("encoder=3", "encoder must be a table, not 3"),
        ("views=3", "views must be a list of tables, not 3"),
        ("encoder.stem_stride=3", "encoder.stem_stride must be one of 1, 2, not 3"),
        ("schedule.warmup=soon",
         'schedule.warmup: \'soon\' is no duration; write "10 epochs", "500 steps" or "5%"'),
        ("train.accumulate=3", "train: batch_size must be divisible by accumulate"),
        ("views.0.order=[]", "views.0: order must begin with crop"),
        ("views.0.pad=4", "views.0: pad cuts from the whole image"),
        ("views.0.count=1", "simsiam needs at least 2 views, got 1"),
        ("method.name=3", f"method.name must be one of {', '.join(SECTIONS)}, not 3"),
        ("method={}", "method.name is missing"),
        ("train=", "train is missing"),
    ],
)  # fmt: skip
def test_fault_says_what_is_expected(folder: Path, override: str, what: str):
    (fault,) = faults(override)
    assert fault.what.startswith(what)


@pytest.mark.parametrize(
    ("override", "hint"),
    [
        ("train.batchsize=3", "did you mean train.batch_size?"),
        ("train.Batch_Size=3", "did you mean train.batch_size?"),
        ("trein.keep=3", "did you mean train?"),
        ("log_every=3", "did you mean train.log_every?"),
        ("lr=3", "optimizer.base_lr"),
        ("optimizer.trust=1", "it belongs to optimizer.name lars"),
        ("train.precision=bf61", "did you mean bf16?"),
        ("optimizer.name=larz", "did you mean lars?"),
        ("train.zzz=3", "there are: duration, batch_size"),
    ],
)
def test_hint_gives_the_nearest_valid_name(folder: Path, override: str, hint: str):
    (fault,) = faults(override)
    assert hint in fault.hint


def test_every_fault_comes_at_once(folder: Path):
    found = faults("seed=x", "nonsense", "train.keep=0", "views.7.size=1", "train.kep=1")
    assert [fault.where for fault in found] == [
        "`overrides` nonsense",
        "`overrides` views.7.size=1",
        "`overrides` seed=x",
        "`overrides` train.keep=0",
        "`overrides` train.kep=1",
    ]


def test_fault_in_a_file_names_file_and_field(folder: Path):
    file = folder / "_base/tiny.toml"
    file.write_text(file.read_text().replace("temperature = 0.1", "temperature = 0"))
    (fault,) = faults()
    assert fault.where == f"{file}, field evaluation.temperature"


def test_union_gives_one_fault(folder: Path):
    assert len(faults("data.workers=many")) == 1


def test_long_values_are_cut(folder: Path):
    (fault,) = faults(f"train.precision={'x' * 500}")
    assert len(fault.what) < 200


def test_nearest_ignores_case():
    assert nearest("CIFAR10", ["cifar10", "digits"]) == ["cifar10"]
    assert nearest("zzz", ["cifar10"]) == []


def test_no_more_faults_than_a_person_reads(folder: Path, tmp_path: Path):
    file = tmp_path / "crowd.toml"
    file.write_text("".join(f"a{i} = 1\n" for i in range(900)))
    with pytest.raises(ConfigError) as caught:
        resolve(TINY, file)
    assert len(caught.value.faults()) == 50


@pytest.mark.parametrize("amount", ["9" * 5_000, "10000000000000"])
def test_durations_beyond_any_run_are_refused_briefly(folder: Path, amount: str):
    (fault,) = faults(f"train.duration={amount} epochs")
    assert "longer than any run" in fault.what
    assert len(fault.what) < 120


@pytest.mark.parametrize(
    "override", ["encoder.width=1000000", "data.image_size=99999", "method.dim=99999999"]
)
def test_sizes_beyond_any_network_are_refused(folder: Path, override: str):
    (fault,) = faults(override)
    assert f"{override.split('=')[0]} must be an integer from" in fault.what
