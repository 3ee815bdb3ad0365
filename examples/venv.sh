# Sourced by the other scripts: make .venv beside pyproject.toml if it is missing, and use it.
# Usage: source examples/venv.sh EXTRAS      such as "onnx" or "test,onnx,parquet"

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
extras=$1

find_python() {
    for name in python3.13 python3.12 python3.11 python3; do
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
    echo "error: sslcli needs Python 3.11 or newer, and none is on the PATH" >&2
    return 1
}

if [ ! -x "$project/.venv/bin/python" ]; then
    python=$(find_python)
    echo "making $project/.venv with $("$python" --version)" >&2
    "$python" -m venv "$project/.venv"
fi
installed="$project/.venv/.extras"
touch "$installed"
missing=$(comm -23 <(tr , '\n' <<<"$extras" | sort) <(sort "$installed"))
if [ -n "$missing" ]; then
    echo "installing sslcli[$extras] into $project/.venv (torch is large: some minutes)" >&2
    "$project/.venv/bin/python" -m pip install --quiet --editable "$project[$extras]"
    tr , '\n' <<<"$extras" >>"$installed"
fi
export PATH="$project/.venv/bin:$PATH"
