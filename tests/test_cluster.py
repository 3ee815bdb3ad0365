"""Cluster scripts: valid shell and YAML, options that exist, and going on after a stop."""

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import typer
import yaml
from torch import nn
from torch.distributed.run import get_args_parser

from sslcli import assemble
from sslcli.cli.app import app
from sslcli.config.presets import resolve

FOLDER = Path(__file__).parent.parent / "examples" / "cluster"
SCRIPTS = sorted(FOLDER.glob("*.sh"))
MANIFESTS = (FOLDER / "kubernetes.yaml").read_text()
README = (FOLDER / "README.md").read_text()


def manifests():
    return {each["kind"]: each for each in yaml.safe_load_all(MANIFESTS)}


def pod():
    return manifests()["Job"]["spec"]["template"]["spec"]


def sources():
    """Return every shell text that starts a training, by name."""
    texts = {file.name: file.read_text() for file in SCRIPTS}
    blocks = re.findall(r"```(?:bash)?\n(.*?)```", README, re.S)
    return texts | {"kubernetes.yaml": pod()["containers"][0]["args"][0], "README": "".join(blocks)}


def commands():
    """Yield the source and the words of each `ssl` command line, variables filled in."""
    for name, text in sources().items():
        joined = re.sub(r"\\\n\s*", " ", text)
        filled = joined.replace('"$preset"', "simsiam/imagenet")
        filled = re.sub(r'"\$\{resume\[@\]\}"|"\$@"', "", filled)
        for line in filled.splitlines():
            words = shlex.split(line, comments=True)
            start = [i + 1 for i, word in enumerate(words) if word in ("ssl", "sslcli")]
            if start:
                yield name, words[: start[0]], words[start[0] :]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda file: file.name)
def test_scripts_are_valid_shell(script):
    subprocess.run(["bash", "-n", script], check=True)


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is not installed")
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda file: file.name)
def test_shellcheck_finds_nothing(script):
    subprocess.run(["shellcheck", script], check=True)


def test_every_command_line_is_accepted():
    root, seen = typer.main.get_command(app), set()
    for name, _, (command, *words) in commands():
        parsed = root.commands[command].make_context(command, [*words, "--resume"])
        resolve(parsed.params["preset"], None, {}, parsed.params["set_"] or [])
        seen.add(name)
    assert seen == {"slurm.sh", "torchrun.sh", "kubernetes.yaml", "README"}


def test_an_option_that_does_not_exist_is_refused():
    command = typer.main.get_command(app).commands["pretrain"]
    with pytest.raises(typer.TyperException, match="--outt"):
        command.make_context("pretrain", ["--outt", "runs/x"])


def test_torchrun_knows_its_options():
    launches = [before for _, before, _ in commands() if "torchrun" in before]
    assert len(launches) == 2
    for words in launches:
        given = get_args_parser().parse_args([*words[words.index("torchrun") + 1 :], "sslcli"])
        assert (given.nnodes, given.rdzv_backend, given.module) == ("2", "c10d", True)
        assert given.shutdown_timeout >= 60
        assert given.max_restarts > 0


def test_worked_numbers_follow_from_their_formulas():
    rows = re.findall(r"^\| \d+ \| [^|]*: ([-+ x/().,\d]+) \| ([\d.,]+) \|$", README, re.M)
    assert len(rows) == 11
    for formula, shown in rows:
        megabytes = eval(formula.replace(",", "").replace(" x ", " * ")) / 1e6
        assert f"{megabytes:,.1f}" == shown, formula


def test_the_network_of_the_worked_numbers_is_the_preset_s():
    method = assemble.build_method(resolve("simsiam/imagenet").config)
    channels = [
        m.num_features for m in method.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)
    ]
    parameters = sum(p.numel() for p in method.parameters() if p.requires_grad)
    encoder = sum(p.numel() for p in method.encoder.parameters())
    named = (f"P = {parameters:,}", f"C = {sum(channels):,}", f"{encoder:,} parameters")
    assert all(each in README for each in named)
    assert f"{2 * 2 * len(channels)} collectives" in README


def test_the_scaling_table_follows_from_its_formulas():
    found = re.findall(r"^\| (\d) x 8 GPUs(?:, ([\d.]+) GB/s)? \| (.*) \|$", README, re.M)
    assert len(found) == 4
    for machines, bandwidth, shown in found:
        w, bytes_a_second = 8 * int(machines), 1e9 * float(bandwidth or 200)
        compute = 48.75e9 * 512 / w / (312e12 * 0.2)
        gradients = 2 * (w - 1) / w * 4 * 38_199_360 / bytes_a_second
        latency = 228 * (40e-6 if bandwidth else 20e-6)
        share = compute / (compute + latency + max(0, gradients - 2 / 3 * compute))
        times = " | ".join(f"{1000 * t:.1f} ms" for t in (compute, gradients, latency))
        assert shown == f"{512 // w} | {times} | {share:.0%}".replace("%", " %")


@pytest.fixture
def launch(tmp_path):
    """Return a function that runs a script with stand-ins for the cluster's commands."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, code in (("srun", 'exit "$STEP_CODE"'), ("scontrol", ""), ("torchrun", "")):
        (tools / name).write_text(f'#!/bin/bash\necho "{name} $*" >> "$CALLS"\n{code}\n')
        (tools / name).chmod(0o755)

    def run(script, step_code=0, **environment):
        given = {"PATH": f"{tools}:{os.environ['PATH']}", "CALLS": str(tmp_path / "calls")}
        given |= {"STEP_CODE": str(step_code), "SLURM_JOB_ID": "7", "HEAD": "a:1", **environment}
        done = subprocess.run([FOLDER / script], env=given, capture_output=True, check=False)
        calls = tmp_path / "calls"
        return done.returncode, calls.read_text().splitlines() if calls.exists() else []

    return run


@pytest.mark.parametrize(
    ("step_code", "last"), [(0, "srun"), (75, "scontrol requeue 7"), (2, "srun")]
)
def test_slurm_requeues_a_job_that_saved_and_no_other(launch, tmp_path, step_code, last):
    code, calls = launch("slurm.sh", step_code, DATA="d", RUN=str(tmp_path / "run"))
    assert code == (0 if step_code == 75 else step_code)
    assert calls[-1].startswith(last)
    assert "--resume" not in calls[0]


@pytest.mark.parametrize("script", ["slurm.sh", "torchrun.sh"])
def test_a_run_that_was_begun_goes_on(launch, tmp_path, script):
    run = tmp_path / "a run"
    run.mkdir()
    (run / "config.toml").touch()
    _, calls = launch(script, DATA="d", RUN=str(run))
    assert calls[0].endswith(f"--out {run} --precision bf16 --resume")


@pytest.mark.parametrize("script", ["slurm.sh", "torchrun.sh"])
def test_a_missing_setting_is_named_before_anything_starts(launch, script):
    code, calls = launch(script, DATA="d")
    assert code != 0
    assert calls == []


def test_slurm_signals_in_time_and_keeps_the_job():
    options = re.findall(r"^#SBATCH (\S+)", (FOLDER / "slurm.sh").read_text(), re.M)
    assert {"--signal=USR1@120", "--requeue", "--open-mode=append"} <= set(options)
    sizes = dict(re.findall(r"--(ntasks|gpus)-per-node=(\d+)", " ".join(options)))
    assert sizes["ntasks"] == sizes["gpus"]


def test_pods_have_shared_memory_and_time_to_save():
    spec, job = pod(), manifests()["Job"]["spec"]
    (shm,) = (v for v in spec["volumes"] if v.get("emptyDir", {}).get("medium") == "Memory")
    (container,) = spec["containers"]
    assert {"name": shm["name"], "mountPath": "/dev/shm"} in container["volumeMounts"]
    timeout = int(re.search(r"--shutdown-timeout=(\d+)", container["args"][0])[1])
    assert spec["terminationGracePeriodSeconds"] > timeout
    assert spec["restartPolicy"] == "Never"
    assert f"--nnodes={job['completions']} " in container["args"][0]
    assert spec["subdomain"] == manifests()["Service"]["metadata"]["name"]
