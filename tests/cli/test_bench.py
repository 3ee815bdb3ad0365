"""What `ssl bench` prints, what it refuses, and that nothing is left behind."""

import pytest
import torch

from sslcli import assemble
from sslcli.config.presets import resolve
from sslcli.errors import UsageError
from sslcli.profile.phases import Round, StepTimes
from sslcli.workflows.bench import bench, remedy

QUICK = ("--steps", "3", "--set", "encoder.width=4")
BENCH = ("bench", "--method", "simsiam", "--data", "digits", *QUICK)


def test_json_names_every_phase_and_the_bottleneck(ssl, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = ssl(*BENCH, "--json").json
    assert list(result["phases"])[-2:] == ["forward+backward", "optimiser"]
    assert result["bottleneck"] in result["phases"]
    parts = sum(phase["seconds"] for phase in result["phases"].values())
    assert result["sum_of_parts"]["seconds"] == pytest.approx(parts)
    assert result["hidden"] < 1
    assert result["remedy"]
    assert not list(tmp_path.iterdir())


def test_the_table_ends_with_the_loop_and_a_remedy(ssl):
    outcome = ssl(*BENCH)
    assert "preset simsiam/digits, because" in outcome.err
    lines = outcome.out.splitlines()
    assert lines[0].split("\t")[:3] == ["phase", "ms a step", "images/s"]
    assert lines[-3].startswith("whole step\t")
    assert lines[-2].startswith("bottleneck: ")
    assert lines[-1].startswith("remedy: ")


def test_a_folder_of_images_is_timed_without_labels_or_a_run(ssl, photos):
    words = ["--preset", "simsiam/digits", "--data", photos, "--set", "train.batch_size=8"]
    result = ssl("bench", *words, *QUICK, "--json", "--quiet").json
    assert result["batch_size"] == 8
    assert result["loop"]["images_per_second"] > 0


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["bench"], 2, "nothing says what to train"),
        ([*BENCH, "--steps", "2"], 2, "--steps"),
        ([*BENCH, "--set", "train.batch_size=1000"], 2, "fills 1 of the 3 batches"),
        ([*BENCH, "--set", "train.batch_size=9999"], 2, "too few for one batch"),
        ([*BENCH, "--data", "nowhere"], 3, "nowhere"),
        ([*BENCH, "--device", "cuda:99"], 4, "CUDA devices"),
        ([*BENCH, "--set", "train.batchsize=3"], 2, "did you mean train.batch_size"),
    ],
)
def test_what_cannot_be_timed_is_refused(ssl, words, code, said):
    outcome = ssl(*words)
    assert outcome.code == code
    assert said in outcome.err


def test_a_short_duration_does_not_cut_the_timing_short(ssl):
    assert ssl(*BENCH, "--set", 'train.duration="1 steps"').code == 0


def test_one_of_several_processes_is_refused(monkeypatch):
    launched = {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}
    for name, value in {**launched, "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match="one process, and this is one of 2"):
        bench(preset="simsiam/digits")


@pytest.fixture(scope="module")
def training():
    """Return a training on the built-in digits, in memory and on the CPU."""
    fields = {"encoder.width": 4, "data.source": "digits", "train.duration": "9 epochs"}
    config = resolve("simsiam/digits", None, fields).config
    source, device = assemble.open_training(config).train, torch.device("cpu")
    return assemble.build_training(config, assemble.build_method(config), source, device, "fp32")


@pytest.mark.parametrize(
    ("longest", "loader", "threads", "load", "said"),
    [
        ("decode", 99.0, 1, 0.0, "data.memory_budget_gib"),
        ("transfer", 99.0, 1, 0.0, "stay on the device"),
        ("views", 99.0, 64, 0.0, "simpler views"),
        ("views", 99.0, 0, 0.0, "OMP_NUM_THREADS"),
        ("views", 99.0, 0, 1e6, "simpler views"),  # others work on those cores
        ("forward+backward", 0.0, 0, 0.0, "OMP_NUM_THREADS"),
        ("optimiser", 0.0, 64, 0.0, "train.batch_size"),
    ],
)
def test_each_bottleneck_has_its_remedy(
    monkeypatch, training, longest, loader, threads, load, said
):
    monkeypatch.setattr("torch.get_num_threads", lambda: threads)
    monkeypatch.setattr("os.getloadavg", lambda: (load, 0.0, 0.0))
    names = ("decode", "transfer", "views", "forward+backward", "optimiser")
    parts = {name: 9.0 if name == longest else 1.0 for name in names}
    times = StepTimes(images=8, steps=3, rounds=(Round(parts, loader, loop=9.0),))
    assert times.bottleneck == longest
    assert said in remedy(times, training)
