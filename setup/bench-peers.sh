#!/bin/sh
# Makes .venv-bench with the pinned, hashed peers of requirements/bench-peers.txt, apart from what our own processes run on.
set -eu
cd "$(dirname "$0")/.."

[ -x .venv-bench/bin/python ] || .venv/bin/python -m venv .venv-bench
echo "setup: installing the peers that bench-tasks measures against"
if .venv/bin/uv pip sync -q --python .venv-bench/bin/python --require-hashes requirements/bench-peers.txt; then
    exit 0
fi
# uv does not read pip's configuration; pip does, slower.
.venv-bench/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/bench-peers.txt
