#!/bin/sh
# Installs Debian packages that are missing: system.sh COMMAND=PACKAGE… ; a package whose command is on PATH is left alone.
set -eu

missing=""
for pair in "$@"; do
    command -v "${pair%%=*}" >/dev/null 2>&1 || missing="$missing ${pair#*=}"
done
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
    echo "setup: please install what these Debian packages hold, then run this again:$missing" >&2
    exit 1
fi
as_root=""
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null 2>&1; then
        echo "setup: needs root or sudo to install:$missing" >&2
        exit 1
    fi
    as_root="sudo"
fi
echo "setup: installing$missing"
log=$(mktemp)
# Servers that packages bring are started by the stack and the tests themselves, on ports of their own.
if ! { $as_root apt-get update && $as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
    apt-get install -y --no-install-recommends $missing; } >"$log" 2>&1; then
    tail -n 30 "$log" >&2
    echo "setup: could not install:$missing" >&2
    exit 1
fi
rm -f "$log"
