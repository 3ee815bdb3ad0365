#!/bin/bash
# Pre-train on two machines without a scheduler. Start it on both, within ten minutes:
#
#     HEAD=node1:29500 DATA=/shared/imagenet RUN=/shared/runs/simsiam examples/cluster/torchrun.sh
#
# HEAD is one of the two and a free port on it. DATA and RUN are on a file system that both see.
# PRESET and GPUS (processes a machine) are optional. Words after the script's name go to `ssl pretrain`.
# Started again, it goes on where it stopped.

set -euo pipefail

head=${HEAD:?set HEAD to HOST:PORT of the first machine}
data=${DATA:?set DATA to the training data}
run=${RUN:?set RUN to the run directory}
preset=${PRESET:-simsiam/imagenet}

# Both see the same: the run is made only after both have met.
resume=()
if [[ -f $run/config.toml ]]; then resume=(--resume); fi

# Signals reach every process, which has the shutdown time to save. torchrun restarts whatever
# fails, a wrong option and exit 75 included, and does not pass exit codes on.
exec torchrun --nnodes=2 --nproc-per-node="${GPUS:-gpu}" \
    --rdzv-backend=c10d --rdzv-endpoint="$head" --rdzv-id="$(basename "$run")" \
    --max-restarts=3 --shutdown-timeout=120 \
    --signals-to-handle=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1 \
    -m sslcli pretrain \
    --preset "$preset" --data "$data" --out "$run" --precision bf16 "${resume[@]}" "$@"
