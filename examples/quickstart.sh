#!/usr/bin/env bash
# Train SimSiam on the built-in scenes, export its encoder, and say what it has learned.
# Needs Python, git and bash; a few minutes on 2 CPU cores, the installation aside.
set -euo pipefail
cd "$(dirname "$0")/.."
source examples/venv.sh onnx

run=${1:-runs/quickstart}
say() { printf '\n$ %s\n' "$*" >&2; "$@"; }

say ssl pretrain --method simsiam --out "$run" --overwrite
say ssl export "$run" --format onnx --overwrite
say ssl knn-eval "$run" --baseline
say ssl linear-eval "$run" --baseline
