#!/bin/bash
#SBATCH --job-name=ssl-pretrain
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=8        # one a GPU
#SBATCH --gpus-per-node=8          # every task sees all of its node, and takes its own
#SBATCH --cpus-per-task=12
#SBATCH --mem=0                    # all of the node
#SBATCH --time=24:00:00
#SBATCH --signal=USR1@120          # two minutes before the end: save, exit 75
#SBATCH --requeue                  # after preemption or a lost node, too
#SBATCH --open-mode=append         # a requeued job goes on in the same log
#SBATCH --output=%x-%j.log

# Pre-train on the nodes of one SLURM job, which comes back by itself until training is done.
#
#     sbatch --export=ALL,DATA=/shared/imagenet,RUN=/shared/runs/simsiam examples/cluster/slurm.sh
#
# DATA and RUN are on a file system that all nodes see. PRESET is optional. `ssl` is on the PATH:
# activate its environment before sbatch, or here.

set -uo pipefail

data=${DATA:?set DATA to the training data}
run=${RUN:?set RUN to the run directory}
preset=${PRESET:-simsiam/imagenet}

# Decided here, once for all tasks: this run goes on if it was begun.
resume=()
if [[ -f $run/config.toml ]]; then resume=(--resume); fi

# Since SLURM 22.05 srun does not take it over from sbatch.
export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1}

# A crashed task takes the others with it after --wait; --kill-on-bad-exit could cut a save short.
srun --wait=120 \
    ssl pretrain --preset "$preset" --data "$data" --out "$run" --precision bf16 "${resume[@]}"
code=$?

if ((code == 75)); then
    echo "stopped with its state saved; back into the queue"
    exec scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
