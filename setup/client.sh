#!/bin/sh
# Makes .venv-client: the generator that a test has make a client of our description, and what the client stands on.
set -eu
cd "$(dirname "$0")/.."

[ -x .venv-client/bin/python ] || .venv/bin/python -m venv .venv-client
if .venv/bin/uv pip sync -q --python .venv-client/bin/python --require-hashes requirements/client.txt; then
    exit 0
fi
.venv-client/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/client.txt
