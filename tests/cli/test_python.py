"""Trainings from Python: the numbers of their commands, and what a notebook needs besides."""

import inspect
import os
import signal
import subprocess
import sys
import threading

import pytest
import torch
from safetensors.torch import load_file

import sslcli
from sslcli.errors import InterruptedRunError, StoppedError, UsageError
from sslcli.listener import Quiet, SilentWatcher

SHORT = {"train.duration": "4 steps", "train.checkpoint_every": "1 steps"}
COMMON = {"data": "digits", "device": "cpu", "seed": 3}
TUNE, TEACH = "evaluation.finetune.duration", "evaluation.distill.duration"


def texts(overrides):
    return [word for name, value in overrides.items() for word in ("--set", f"{name}={value}")]


def weights(run):
    return load_file(run / "checkpoint.safetensors")


def assert_same(found, wanted):
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def numbers(result):
    """Return what a result and the command's JSON both say, but times and places."""
    return {k: v for k, v in result.items() if k not in ("fit_seconds", "run", "protocol")}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return a run that Python has made; tests must not change it."""
    out = tmp_path_factory.mktemp("runs") / "python"
    return sslcli.pretrain("simsiam", overrides=SHORT, out=out, **COMMON)


class Interrupting(Quiet):
    """Sends a signal to the process as a step ends."""

    def __init__(self, at):
        self.at, self.during = at, None

    def watcher(self, total_steps, first_step, steps_per_epoch, *, rows="images"):
        watcher = SilentWatcher()
        watcher.step = self.step
        return watcher

    def step(self, step):
        self.during = signal.getsignal(signal.SIGINT)
        if step == self.at:
            signal.raise_signal(signal.SIGINT)


def test_pretrain_is_its_command(ssl, run, tmp_path):
    out = tmp_path / "run"
    words = ("pretrain", "--preset", "simsiam/digits", *texts(SHORT), "--out", out)
    done = ssl(*words, "--device", "cpu", "--seed", 3, "--json").json
    assert_same(weights(run.checkpoint.run), weights(out))
    measured = {k: v for k, v in done["metrics"].items() if "second" not in k and "wait" not in k}
    assert measured.items() <= run.metrics.items()
    assert run.device.type == "cpu"


@pytest.mark.parametrize("protocol", ["features", "paper"])
def test_linear_eval_is_its_command(ssl, run, protocol):
    short = {"evaluation.linear.duration": "3 steps"}
    found = sslcli.linear_eval(run, protocol=protocol, seeds=range(2), overrides=short)
    words = ("linear-eval", run.checkpoint.run, "--protocol", protocol, *texts(short))
    done = ssl(*words, "--seeds", "0-1", "--json").json
    assert numbers(found.as_dict()) == numbers(done["metrics"])
    assert found.over_seeds["top1"].mean == found.top1 == done["over_seeds"]["top1"]["mean"]
    assert found.over_seeds["top1"].n == 2
    assert found.protocol == done["protocol"]


def test_the_untrained_encoder_is_measured_when_asked_for(run):
    found = sslcli.linear_eval(run, baseline=True)
    assert 0 < found.top1_untrained < 1
    assert not found.over_seeds


def test_finetune_and_distill_are_their_commands(ssl, run, tmp_path):
    tune, teach = {TUNE: "2 steps"}, {TEACH: "2 steps"}
    few = {"label_fraction": 0.5, "overrides": tune}
    found = sslcli.finetune(run, **few, out=tmp_path / "a")
    words = ("--label-fraction", 0.5, *texts(tune), "--out", tmp_path / "b", "--json")
    done = ssl("finetune", run.checkpoint.run, *words).json
    assert numbers(found.as_dict()) == numbers(done["metrics"])
    assert found.protocol == done["protocol"]
    assert "50.00% of the labels" in found.protocol
    assert_same(weights(found.run), weights(tmp_path / "b"))
    student = sslcli.distill(found.run, overrides=teach)
    assert student.run == found.run / "distill"
    done = ssl("distill", found.run, *texts(teach), "--overwrite", "--json").json
    assert numbers(student.as_dict()) == numbers(done["metrics"])


def test_ctrl_c_saves_is_a_keyboard_interrupt_and_the_run_goes_on(run, tmp_path):
    before, listener = signal.getsignal(signal.SIGINT), Interrupting(at=2)
    call = {"method": "simsiam", "overrides": SHORT, "out": tmp_path / "run", **COMMON}
    with pytest.raises(KeyboardInterrupt, match=r"state is saved - .*resume=True, out=") as caught:
        sslcli.pretrain(**call, listener=listener)
    assert isinstance(caught.value.__cause__, InterruptedRunError)
    assert signal.getsignal(signal.SIGINT) is before is not listener.during
    assert sslcli.load(tmp_path / "run").checkpoint.facts["step"] == 2
    assert_same(weights(sslcli.pretrain(**call, resume=True).checkpoint.run),
                weights(run.checkpoint.run))  # fmt: skip


def test_a_time_limit_is_an_error_that_tells_how_to_go_on(tmp_path):
    with pytest.raises(StoppedError) as caught:
        sslcli.pretrain("simsiam", overrides=SHORT, out=tmp_path / "run", max_time="0s", **COMMON)
    assert caught.value.where == str(tmp_path / "run")
    assert "resume=True" in caught.value.hint


def test_another_thread_trains_too(run, tmp_path):
    call = {"method": "simsiam", "overrides": SHORT, "out": tmp_path / "run", **COMMON}
    thread = threading.Thread(target=sslcli.pretrain, kwargs=call)
    thread.start()
    thread.join()
    assert_same(weights(tmp_path / "run"), weights(run.checkpoint.run))


def test_nothing_is_printed_and_what_must_not_be_missed_is_a_warning(tmp_path, capsys):
    call = {"method": "simsiam", "overrides": SHORT, "out": tmp_path / "run", **COMMON}
    sslcli.pretrain(**call, keep=2)
    newest = max((tmp_path / "run" / "state").iterdir())
    (newest / "model.safetensors").write_bytes(b"no weights")
    with pytest.warns(UserWarning, match=newest.name):
        sslcli.pretrain(**call, keep=2, resume=True)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("call", "where"),
    [
        ({"devices": 2}, "devices"),
        ({"resume": True}, "out"),
        ({"resume": True, "overwrite": True, "out": "x"}, "resume, overwrite"),
        ({"max_time": "3x"}, "max_time"),
        ({"method": None}, "method, preset, config"),
        ({"method": "simsam"}, "method"),
        ({"preset": "byol/digits"}, "preset"),
    ],
)
def test_a_wrong_call_names_its_arguments(call, where):
    with pytest.raises(UsageError) as caught:
        sslcli.pretrain(**{"method": "simsiam", **call})
    assert caught.value.where == where
    assert caught.value.hint


def test_what_only_the_papers_probe_has_is_refused_without_it(run):
    with pytest.raises(UsageError) as caught:
        sslcli.linear_eval(run, resume=True, max_time=3.0)
    assert caught.value.where == "resume, max_time"


@pytest.mark.parametrize("name", ["finetune", "distill", "linear_eval"])
def test_several_processes_need_a_launcher(name):
    function = getattr(sslcli, name)
    with pytest.raises(UsageError, match="one process") as caught:
        function("runs/x", devices=2)
    assert "torchrun" in caught.value.hint
    assert inspect.signature(function).parameters["devices"].default == 1


@pytest.mark.ddp
def test_a_program_under_torchrun_trains_in_several_processes_time_and_again(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import sslcli\n"
        f"run = sslcli.pretrain('simsiam', data='digits', overrides={SHORT}, out='run')\n"
        f"short = {{{TUNE!r}: '2 steps'}}\n"
        "found = sslcli.finetune(run, overrides=short)\n"
        "print(f\"{run.metrics['step']} {found.top1}\\n\", end='')\n"  # in one write
    )
    words = ("--nproc-per-node", "2", "--standalone", str(program))
    told = subprocess.check_output(
        [sys.executable, "-m", "torch.distributed.run", *words],
        cwd=tmp_path, text=True, timeout=120, env={**os.environ, "PYTHONPATH": os.getcwd()},
    )  # fmt: skip
    first, second = told.splitlines()
    assert first == second
    assert first.startswith("4 ")
