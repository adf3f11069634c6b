#!/bin/sh
# Makes the Python code of every contract into ./yivideo (never committed). `make protos` calls it.
set -eu
cd "$(dirname "$0")/.."
PATH="$PWD/.venv/bin:$PATH"
echo "setup: making the Python code of the contracts (protos/)"
rm -rf yivideo
python -m grpc_tools.protoc -I protos \
    --python_out=. --grpc_python_out=. --mypy_out=quiet:. --mypy_grpc_out=quiet,generate_concrete_servicer_stubs:. \
    $(find protos -name '*.proto' | sort)
find yivideo -type d -exec touch '{}/__init__.py' ';'
touch yivideo/py.typed
