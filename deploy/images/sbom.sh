#!/bin/sh
# Writes .sbom/yivideo-<environment>.cdx.json and .licences.md: sbom.sh [ENVIRONMENT…]. An image that is built adds its Debian packages.
set -eu
cd "$(dirname "$0")/../.."
setup/environment.sh sbom
version=$(.venv/bin/python -c 'import runtime; print(runtime.VERSION)')
container=
trap '[ -z "$container" ] || buildah rm "$container" >/dev/null' EXIT
trap 'exit 1' HUP INT TERM
for name in ${*:-$(.venv/bin/python -m stack.environments --in-use)}; do
    setup/environment.sh "$name"
    root=
    image=localhost/yivideo-$name:$version
    if command -v buildah >/dev/null 2>&1 && buildah inspect --type image "$image" >/dev/null 2>&1; then
        container=$(buildah from --pull-never "$image")
        root=$(buildah mount "$container")
    else
        echo "sbom: $image is not built here (make images); its Debian packages are left out" >&2
    fi
    .environments/sbom/bin/python deploy/images/sbom.py "yivideo-$name" --lock "requirements/$name.txt" \
        --python ".environments/$name/bin/python" --output .sbom ${root:+--root "$root"}
    [ -z "$container" ] || buildah rm "$container" >/dev/null
    container=
done
