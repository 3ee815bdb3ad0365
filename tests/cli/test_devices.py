"""Training in several processes, as a user starts, stops and breaks it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sslcli.cli.launching import must_launch
from sslcli.errors import UsageError

pytestmark = pytest.mark.ddp
SSL = [sys.executable, "-m", "sslcli"]
SMALL = ["--set", "train.batch_size=64", "--set", "encoder.width=4"]  # starting takes longer
TRAIN = ["pretrain", "--preset", "simsiam/digits", *SMALL]
SAVE_OFTEN = ["--set", "train.checkpoint_every='5 steps'"]
TWO = ["--devices", "2"]


@pytest.fixture(autouse=True)
def threads(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.chdir(tmp_path_factory.mktemp("here"))


def epochs(count):
    return ["--set", f"train.duration='{count} epochs'"]


def apart(*words, **more):
    """Run a command in a process of its own; the fixture `ssl` saves the imports."""
    return subprocess.run([*SSL, *words], capture_output=True, text=True, timeout=150, **more)


@pytest.fixture
def start():
    """Return a function that starts a command, which ends with the test at the latest."""
    started = []

    def begin(*words):
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        started.append(subprocess.Popen([*SSL, *words], text=True, **pipes))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def wait_for_state(run, process):
    deadline = time.monotonic() + 90
    while not list(Path(run, "state").glob("step-*")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def workers(launcher):
    """Return the process ids of a launcher's workers, by rank."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
            variables = (folder / "environ").read_bytes().decode().split("\0")
        except OSError:
            continue
        if int(parent) == launcher.pid:
            rank = next(v for v in variables if v.startswith("RANK="))
            found[int(rank.removeprefix("RANK="))] = int(folder.name)
    return found


def steps(run):
    rows = Path(run, "metrics.jsonl").read_text().splitlines()
    return [json.loads(row)["step"] for row in rows]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """A finished run of two processes, and what it said."""
    run = tmp_path_factory.mktemp("runs") / "unbroken"
    done = apart(*TRAIN, *SAVE_OFTEN, *epochs(2), *TWO, "--json", "--out", str(run))
    return run, done


def test_two_processes_say_everything_once(unbroken):
    run, done = unbroken
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["metrics"]["step"] == 44
    assert done.stderr.count("run directory") == 1
    assert "2 processes" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Warning" not in done.stderr
    assert steps(run) == sorted(set(steps(run)))
    names = {path.name for path in next(run.glob("state/step-*")).iterdir()}
    assert {"rank-0.safetensors", "rank-1.safetensors"} <= names


def test_a_fine_tuning_of_two_is_measured_once(unbroken):
    run, _ = unbroken
    short = ["--set", "evaluation.finetune.duration='1 epochs'"]
    done = apart("finetune", str(run), *short, *TWO, "--json", "--out", "tuned")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["metrics"]["n"] == 355
    assert len((run / "results.jsonl").read_text().splitlines()) == 1
    assert len(list(Path("tuned").glob("state/*/rank-1.safetensors"))) > 0


def test_a_killed_process_starts_again_from_the_last_state(unbroken, start):
    process = start(*TRAIN, *SAVE_OFTEN, *epochs(2), *TWO, "--out", "run")
    wait_for_state("run", process)
    os.kill(workers(process)[1], signal.SIGKILL)
    _, talk = process.communicate(timeout=120)
    assert process.returncode == 0, talk
    assert "process 1 was killed by SIGKILL; restart 1 of 3" in talk
    assert "resuming after step" in talk
    assert "Traceback" not in talk
    whole, mended = (
        load_file(run / "checkpoint.safetensors") for run in (unbroken[0], Path("run"))
    )
    assert all((mended[name] == value).all() for name, value in whole.items())
    assert steps("run") == steps(unbroken[0])


@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGUSR1, 75, "SIGUSR1"), (signal.SIGINT, 130, "Ctrl-C")]
)
def test_a_signal_saves_and_one_process_may_go_on(number, code, word, start, ssl):
    process = start(*TRAIN, *SAVE_OFTEN, *epochs(200), *TWO, "--out", "run")
    wait_for_state("run", process)
    process.send_signal(number)
    asked = time.monotonic()
    _, talk = process.communicate(timeout=60)
    assert process.returncode == code, talk
    assert time.monotonic() - asked < 10
    assert talk.count(f"stopped by {word} after step") == 1
    assert talk.count("error:") == 1
    assert "torch/" not in talk
    more = ssl("pretrain", "--resume", "--out", "run", "--max-time", "1s")
    assert more.code == 75, more.err
    assert "2 processes saved this state, 1 go on" in more.err


def test_a_second_ctrl_c_ends_all_at_once(start):
    process = start(*TRAIN, *SAVE_OFTEN, *epochs(200), *TWO, "--out", "run")
    wait_for_state("run", process)
    ours = workers(process)
    for pid in ours.values():
        os.kill(pid, signal.SIGSTOP)  # so that none can save
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 130
    gone_within(ours.values(), 5)


def test_no_process_outlives_its_launcher(start):
    process = start(*TRAIN, *SAVE_OFTEN, *epochs(200), *TWO, "--out", "run")
    wait_for_state("run", process)
    ours = workers(process)
    process.kill()
    gone_within(ours.values(), 5)


def gone_within(pids, seconds):
    deadline = time.monotonic() + seconds
    while any(Path(f"/proc/{pid}/exe").exists() for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.05)


CRASH = """
import os, resource
if os.environ.get("RANK") == "1":
    import sslcli.data.loader
    def fail(*_, **__):
        from sslcli.errors import DataError
        raise DataError("this disk is only mine", "/here")
    sslcli.data.loader.TrainLoader.epoch = fail
"""


def test_a_fault_of_any_process_ends_all_with_its_message(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(CRASH)
    path = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = apart(*TRAIN, *epochs(2), *TWO, "--out", "run", env=path)
    assert done.returncode == 3, done.stderr
    assert "process 1 of 2" in done.stderr
    assert "this disk is only mine" in done.stderr
    assert done.stderr.count("error:") == 1
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["--devices", "3"], 2, "64 does not divide among 3 processes"),
        (["--devices", "0"], 2, "--devices"),
        (["--devices", "2", "--device", "cuda"], 4, "cuda"),
        (["--devices", "2", "--set", "train.durration='1 epochs'"], 2, "train.duration"),
    ],
)
def test_wrong_use_is_told_once_before_anything_starts(words, code, text, ssl):
    done = ssl(*TRAIN, *words, "--out", "run")
    assert done.code == code
    assert text in done.err
    assert done.err.count("error:") == 1
    assert not Path("run").exists()


# Each task of a step of srun; a command that fails ends it, as it ends a process of the command.
PROGRAM = """
import json, os, sys
from contextlib import redirect_stderr, redirect_stdout
from sslcli.cli import app
for number, words in enumerate(json.loads(sys.argv[1])):
    sys.argv = ["ssl", *words]
    name = f"{number}-{os.environ['SLURM_PROCID']}"
    with open(f"{name}.out", "w") as out, open(f"{name}.err", "w") as err:
        with redirect_stdout(out), redirect_stderr(err):
            try:
                app.main()
            except SystemExit as end:
                assert not end.code
"""


@pytest.fixture(scope="module")
def told(unbroken, tmp_path_factory):
    """Run three commands in two tasks of srun; return the folder of what each said, and codes."""
    one = ["--set", "train.duration='1 steps'", "--set", "optimizer.base_lr=1e-12"]
    commands = [
        [*TRAIN, *epochs(1), "--out", "run"],
        [*TRAIN, *one, "--init", str(unbroken[0]), "--out", "begun"],
        [*TRAIN, "--set", "train.batch_size=2000", "--out", "none"],
    ]
    step = {"SLURM_STEP_NUM_TASKS": "2", "SLURM_JOB_ID": str(os.getpid()), "SLURM_NODEID": "0"}
    step |= {"SLURM_STEP_NODELIST": "localhost", "SLURM_STEP_TASKS_PER_NODE": "2"}
    here, tasks = tmp_path_factory.mktemp("step"), []
    for rank in ("0", "1"):
        env = {**os.environ, **step, "SLURM_PROCID": rank, "SLURM_LOCALID": rank}
        words = [sys.executable, "-c", PROGRAM, json.dumps(commands)]
        tasks.append(subprocess.Popen(words, env=env, cwd=here))
    return here, [task.wait(120) for task in tasks]


def test_srun_is_recognised(told):
    here, _ = told
    said = [(here / f"0-{rank}.out").read_text() for rank in (0, 1)]
    assert said == ["run/checkpoint.safetensors\n", ""]


def test_two_processes_start_from_the_same_weights(told, unbroken):
    here, _ = told
    said = [(here / f"1-{rank}.err").read_text() for rank in (0, 1)]
    assert said[0].count("the encoder starts from") == 1
    assert said[1] == ""
    name = "encoder.layer1.0.conv1.weight"
    runs = (unbroken[0], here / "begun")
    began, ended = (load_file(run / "checkpoint.safetensors") for run in runs)
    torch.testing.assert_close(ended[name], began[name], atol=1e-6, rtol=0)


def test_a_fault_that_all_meet_is_told_once(told):
    here, codes = told
    assert codes == [2, 2]
    said = "".join((here / f"2-{rank}.err").read_text() for rank in (0, 1))
    assert said.count("error:") == 1
    assert "too few for one batch of 2000" in said
    assert "process" not in said.partition("error:")[2]


@pytest.mark.parametrize("launcher", ["torchrun", "slurm"])
def test_processes_that_a_launcher_has_started_start_no_others(launcher, monkeypatch):
    there = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}
    there |= {"MASTER_ADDR": "localhost", "MASTER_PORT": "1"}
    if launcher == "slurm":
        there = {"SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "1", "SLURM_LOCALID": "1"}
        there |= {"SLURM_JOB_ID": "1", "SLURM_NODEID": "0"}
    for name, value in there.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=f"{launcher} has already started 2 processes"):
        must_launch(2)
