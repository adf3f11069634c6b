#!/bin/sh
# Compiles requirement files to pinned, hashed locks: core, then each environment of services/nodes.toml, then what tools need.
# Pins that still fit stay; `make lock upgrade=1` takes the newest.
set -eu
cd "$(dirname "$0")/.."

compile() { # LOCK FILES…
    target=requirements/$1.txt
    shift
    .venv/bin/uv pip compile -q ${UPGRADE:+--upgrade} --generate-hashes --no-emit-index-url --no-header --python-version 3.11 \
        "$@" -o "$target"
}

environments=$(.venv/bin/python -m stack.environments)
wire=.stamps/wire.txt
mkdir -p .stamps
for environment in $environments; do
    # What crosses the wire between processes is of one version everywhere; large engines may still exclude what else core has.
    case $environment in core) agree="" ;; light) agree="-c requirements/core.txt" ;; *) agree="-c $wire" ;; esac
    # shellcheck disable=SC2046,SC2086 # one word for each file
    compile "$environment" $agree $(.venv/bin/python -m stack.environments "$environment")
    [ "$environment" != core ] || grep -oE '^(protobuf|grpcio[a-z-]*)==[^ ]+' requirements/core.txt >"$wire"
done
# shellcheck disable=SC2046
compile dev -c requirements/core.txt -c requirements/light.txt requirements/dev.in requirements/cli.in \
    $({ .venv/bin/python -m stack.environments core; .venv/bin/python -m stack.environments light; } | sort -u)
for name in uv wheel sbom npm fuzz japanese deploy client bench-locks bench-peers; do
    compile "$name" "requirements/$name.in"
done
