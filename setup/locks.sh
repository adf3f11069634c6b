#!/bin/sh
# Makes .venv-locks: the locks that `make bench-gpulock` measures ours against.
set -eu
cd "$(dirname "$0")/.."

[ -x .venv-locks/bin/python ] || .venv/bin/python -m venv .venv-locks
if .venv/bin/uv pip sync -q --python .venv-locks/bin/python --require-hashes requirements/bench-locks.txt; then
    exit 0
fi
.venv-locks/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/bench-locks.txt
