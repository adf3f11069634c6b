#!/bin/sh
# Makes .venv with the pinned, hashed packages of requirements/dev.txt.
set -eu
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "setup: needs Python 3.11 or newer; set PYTHON to one" >&2
    exit 1
}
[ -x .venv/bin/python ] || {
    echo "setup: making .venv"
    "$python" -m venv .venv
}
packages="the $(grep -c '^[a-zA-Z0-9].*==' requirements/dev.txt) Python packages of requirements/dev.txt"
echo "setup: installing uv, which installs the others"
.venv/bin/python -m pip --version >/dev/null 2>&1 || "$python" -m venv --upgrade-deps .venv
if .venv/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/uv.txt &&
    echo "setup: installing $packages into .venv (a minute or two when none is cached)" &&
    .venv/bin/uv pip sync -q --python .venv/bin/python --require-hashes requirements/dev.txt requirements/uv.txt; then
    :
else
    # uv does not read pip's configuration; pip does, slower.
    echo "setup: installing $packages with pip, as uv could not"
    .venv/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/dev.txt
fi
echo "setup: putting the command yivideo into .venv/bin"
# It runs on these sources: what it needs is here already, and nothing is fetched for its build.
.venv/bin/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation --no-index -e .
