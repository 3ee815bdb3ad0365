#!/usr/bin/env bash
# Install the project into .venv if need be, and pass the tests. Options go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
source examples/venv.sh test,onnx,parquet,log
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
export PYTHONDONTWRITEBYTECODE=1 # several processes import at once; one may read what another writes
# tests/conftest.py says which files come first; xdist would begin with those of most tests.
exec python -m pytest -m "not slow and not network" -n 2 --dist loadfile --no-loadscope-reorder "$@"
