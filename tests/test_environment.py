"""Who started a process, as the environment tells it."""

import pytest

from sslcli.environment import (
    EXIT_FILE,
    World,
    first_host,
    has_ended,
    slurm_address,
    task_counts,
    world,
)
from sslcli.errors import UsageError

TORCHRUN = {
    "RANK": "9",
    "WORLD_SIZE": "16",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "8",
    "MASTER_ADDR": "n0",
    "MASTER_PORT": "29500",
}
SLURM = {
    "SLURM_STEP_NUM_TASKS": "9",
    "SLURM_PROCID": "8",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "2",
    "SLURM_JOB_ID": "1234567",
    "SLURM_STEP_TASKS_PER_NODE": "4(x2),1",
    "SLURM_STEP_NODELIST": "gpu[03-05]",
}


def test_a_process_of_its_own():
    assert world({}) == World(0, 1, 0, 1, 0, "none")


def test_torchrun_and_its_restarts():
    assert world(TORCHRUN) == World(9, 16, 1, 8, 0, "torchrun")
    assert world(TORCHRUN | {"TORCHELASTIC_RESTART_COUNT": "2"}).restarts == 2
    assert world(TORCHRUN | {EXIT_FILE: "/tmp/x"}).launcher == "devices"


def test_a_slurm_step_of_several_tasks():
    assert world(SLURM) == World(8, 9, 0, 1, 0, "slurm")
    assert world(SLURM | {"SLURM_NODEID": "1", "SLURM_RESTART_COUNT": "3"}).local_size == 4
    assert slurm_address(SLURM) == ("gpu03", "34567")


def test_a_batch_script_and_a_step_of_one_task_are_no_world():
    script = {"SLURM_NTASKS": "8", "SLURM_PROCID": "0", "SLURM_JOB_ID": "7"}
    assert world(script).size == 1
    assert world(SLURM | {"SLURM_STEP_NUM_TASKS": "1"}).size == 1


@pytest.mark.parametrize(
    ("variables", "where"),
    [
        ({"RANK": "0"}, "WORLD_SIZE"),
        (TORCHRUN | {"RANK": "first"}, "RANK"),
        ({"SLURM_STEP_NUM_TASKS": "2"}, "SLURM_PROCID"),
    ],
)
def test_variables_that_make_no_sense_are_named(variables, where):
    with pytest.raises(UsageError) as caught:
        world(variables)
    assert where in caught.value.where


@pytest.mark.parametrize(
    ("nodes", "host"),
    [
        ("gpu7", "gpu7"),
        ("gpu[03-05,9],login1", "gpu03"),
        ("a1,a2", "a1"),
        ("rack[1,3]-ib", "rack1-ib"),
        ("c-0-[12-13]", "c-0-12"),
    ],
)
def test_the_first_host_of_a_node_list(nodes, host):
    assert first_host(nodes) == host


def test_no_host_is_an_error():
    with pytest.raises(ValueError, match="no host"):
        first_host("")


def test_task_counts_are_spelt_out():
    assert task_counts("4(x2),1") == [4, 4, 1]
    assert task_counts("2") == [2]


def test_an_end_is_one_that_somebody_wrote(tmp_path):
    file = tmp_path / "exit"
    assert not has_ended({})
    assert not has_ended({EXIT_FILE: str(file)})
    file.touch()
    assert not has_ended({EXIT_FILE: str(file)})
    file.write_text("4")
    assert has_ended({EXIT_FILE: str(file)})
