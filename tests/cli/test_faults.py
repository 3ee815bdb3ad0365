"""What goes wrong in mid-run: it ends or goes on as told, and the last state is whole."""

import errno
import json
import shutil

import pytest
import torch
from PIL import Image

from sslcli.cli import faults
from sslcli.engine import state, trainer
from sslcli.engine.state import newest_state
from sslcli.errors import ConfigError, PeerError, UsageError
from sslcli.methods.simsiam import SimSiam

PRETRAIN = ("pretrain", "--preset", "simsiam/digits", "--set", "data.workers=0")
SHORT = ("--set", 'train.duration="3 epochs"', "--set", 'train.checkpoint_every="1 epochs"')
SMALL = ("--set", "train.batch_size=8", *SHORT)


@pytest.fixture
def mixed(tmp_path):
    """A folder of 24 images of two sizes, so that they are decoded as they are used."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(24):
        side = 10 + index % 2
        Image.new("RGB", (side, side), (9 * index, 200 - 5 * index, 50)).save(
            folder / f"{index:02d}.png"
        )
    return folder


@pytest.fixture
def after_first_save(monkeypatch):
    """Return a function that has something happen once the first state is saved."""

    def arrange(happen):
        real, saves = trainer.save, []

        def save(*arguments):
            real(*arguments)
            saves.append(arguments)
            if len(saves) == 1:
                happen()

        monkeypatch.setattr(trainer, "save", save)

    return arrange


def is_whole(run, step):
    found, remarks = newest_state(run)
    return found.step == step and not remarks


def test_a_data_folder_that_vanishes_ends_with_the_state_intact(
    ssl, mixed, tmp_path, after_first_save
):
    run = tmp_path / "run"
    after_first_save(lambda: shutil.rmtree(mixed))
    ended = ssl(*PRETRAIN, *SMALL, "--data", mixed, "--out", run)
    assert ended.code == 3
    assert "unreadable" in ended.err
    assert is_whole(run, 3)


def test_an_image_that_breaks_is_named_once_and_the_run_goes_on(
    ssl, mixed, tmp_path, after_first_save
):
    after_first_save(lambda: (mixed / "07.png").write_bytes(b"\x89PNG\r\n"))
    words = ("--set", "data.max_bad_fraction=0.1", "--data", mixed, "--out", tmp_path / "run")
    ended = ssl(*PRETRAIN, *SMALL, *words)
    assert ended.code == 0
    assert ended.err.count("07.png") == 1
    assert is_whole(tmp_path / "run", 9)


@pytest.fixture
def later(monkeypatch):
    """Return a function that changes SimSiam's output from step 25 on."""

    def arrange(change):
        real = SimSiam.forward
        monkeypatch.setattr(
            SimSiam,
            "forward",
            lambda self, batch, progress: (
                change(real(self, batch, progress))
                if progress.step >= 25
                else real(self, batch, progress)
            ),
        )

    return arrange


def no_memory(output):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def not_a_number(output):
    output.loss.data.fill_(float("nan"))
    return output


def huge(output):
    output.loss.data.fill_(1e6)
    return output


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        (no_memory, 4, "use a smaller train.batch_size"),
        (not_a_number, 6, "ceased to be finite"),
        (huge, 6, "exploded from"),
    ],
)
def test_a_step_that_fails_leaves_the_state_before(ssl, tmp_path, later, change, code, said):
    later(change)
    ended = ssl(*PRETRAIN, *SHORT, "--out", tmp_path / "run")
    assert ended.code == code
    assert said in ended.err
    found, _ = newest_state(tmp_path / "run")
    assert found.step <= 25
    rows = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(rows[0])["step"] > 0
    assert ssl(*PRETRAIN, *SHORT, "--out", tmp_path / "run", "--resume").code == code


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_a_disk_that_fails_ends_and_a_later_resume_goes_on(
    ssl, tmp_path, monkeypatch, after_first_save, number
):
    run, real = tmp_path / "run", state.save_file

    def failing(*arguments):
        raise OSError(number, "the disk")

    after_first_save(lambda: monkeypatch.setattr(state, "save_file", failing))
    ended = ssl(*PRETRAIN, *SHORT, "--out", run)
    assert ended.code == 4
    assert "cannot write" in ended.err
    first = newest_state(run)[0].step
    assert [path.name for path in (run / "state").iterdir()] == [f"step-{first:08d}"]
    monkeypatch.setattr(state, "save_file", real)
    assert ssl(*PRETRAIN, *SHORT, "--out", run, "--resume").code == 0


@pytest.mark.parametrize(
    "error",
    [
        torch.distributed.DistBackendError("NCCL error: remote process exited"),
        RuntimeError(
            "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:538] Connection closed"
        ),
    ],
)
def test_a_process_that_is_left_alone_says_so(error):
    fault = faults.as_fault(error)
    assert isinstance(fault, PeerError)
    assert "--resume" in fault.hint


def test_the_arguments_that_a_fault_names_are_written_as_options(monkeypatch):
    monkeypatch.setattr("sys.argv", ["ssl", "pretrain", "--out", "out"])
    other = ConfigError("no key", "overrides", "`ssl presets` and `method.name` stay")
    fault = UsageError("`max_time` is short", "max_time, out", "add `data_root`", others=[other])
    assert faults.as_fault(fault) is fault
    assert fault.what == "--max-time is short"
    assert fault.where == "--max-time, out"  # a folder that was given
    assert fault.hint == "add --data-root"
    assert (other.where, other.hint) == ("--set", "`ssl presets` and `method.name` stay")
