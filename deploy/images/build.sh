#!/bin/sh
# Builds the images with buildah, without a daemon: build.sh [TARGET…], by default one for each environment that services/nodes.toml starts nodes on.
#
#   BASE      image to build on; unset: one is made of Debian's packages here (base.sh), because that needs no registry
#   PLATFORM  linux/amd64 or linux/arm64; another one than this machine's needs BASE and qemu's binfmt handlers
#   PREFIX    what stands in front of the names, a registry for example, with its slash
set -eu
cd "$(dirname "$0")/../.."
python=.venv/bin/python

command -v buildah >/dev/null 2>&1 || {
    echo "images: buildah is not here; \`make images\` installs it on Debian and Ubuntu" >&2
    exit 1
}
version=$("$python" -c 'import runtime; print(runtime.VERSION)')
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
[ -z "$(git status --porcelain 2>/dev/null)" ] || revision="$revision-dirty"
created=$(date -u +%Y-%m-%dT%H:%M:%SZ)
scripts=$(cat deploy/images/*.sh | sha256sum | cut -d ' ' -f 1)

base=${BASE:-}
if [ -z "$base" ]; then
    base=localhost/yivideo-base:$(. /etc/os-release && echo "$VERSION_CODENAME")
    buildah inspect --type image "$base" >/dev/null 2>&1 || deploy/images/base.sh "$base"
fi

# How this machine gets its packages is told to the build and kept by no layer.
secrets=$(mktemp -d)
trap 'rm -rf "$secrets"' EXIT
# By itself the shell passes over that one when a signal ends it.
trap 'exit 1' HUP INT TERM
: >"$secrets/apt_sources"
case $base in localhost/yivideo-base:*) deploy/images/apt-sources.sh >"$secrets/apt_sources" ;; esac
cat "${PIP_CONFIG_FILE:-/etc/pip.conf}" >"$secrets/pip_conf" 2>/dev/null || : >"$secrets/pip_conf"
cat "${SSL_CERT_FILE:-/nowhere}" >"$secrets/authorities" 2>/dev/null || : >"$secrets/authorities"

for target in ${*:-$("$python" -m stack.environments --in-use)}; do
    image=${PREFIX:-localhost/}yivideo-$target:$version
    echo "images: building $image"
    buildah build --quiet --layers --isolation chroot ${PLATFORM:+--platform "$PLATFORM"} \
        --file deploy/images/Containerfile --ignorefile deploy/images/Containerfile.dockerignore --target "$target" \
        --build-arg "BASE=$base" --build-arg "VERSION=$version" --build-arg "REVISION=$revision" --build-arg "CREATED=$created" \
        --build-arg "SCRIPTS=$scripts" \
        --secret "id=apt_sources,src=$secrets/apt_sources" --secret "id=pip_conf,src=$secrets/pip_conf" \
        --secret "id=authorities,src=$secrets/authorities" --tag "$image" . >/dev/null
done
