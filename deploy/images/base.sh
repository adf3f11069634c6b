#!/bin/sh
# Makes a base image where no registry can be reached: base.sh NAME. Debian's minimal system by debootstrap, from where this machine's
# own apt gets its packages; nothing in the image says where that was.
set -eu
name=$1
here=$(cd "$(dirname "$0")" && pwd)

scratch=$(mktemp -d)
container=$(buildah from scratch)
trap 'buildah rm "$container" >/dev/null; rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM
"$here/apt-sources.sh" >"$scratch/sources.list"
read -r _ mirror suite _ <"$scratch/sources.list"
root=$(buildah mount "$container")
echo "images: making the base out of Debian's $suite"
if ! debootstrap --variant=minbase "$suite" "$root" "$mirror" >"$scratch/log" 2>&1; then
    tail -n 30 "$scratch/log" >&2
    exit 1
fi
rm -f "$root/etc/apt/sources.list" "$root/etc/hostname" "$root/etc/resolv.conf" "$root/etc/machine-id"
cat >"$root/etc/dpkg/dpkg.cfg.d/containers" <<'END'
path-exclude /usr/share/man/*
path-exclude /usr/share/info/*
path-exclude /usr/share/locale/*
path-exclude /usr/share/doc/*
path-include /usr/share/doc/*/copyright
END
buildah umount "$container" >/dev/null
buildah config --cmd /bin/sh --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
# Updates since the release; what nobody reads in a container goes.
buildah run --isolation chroot --volume "$scratch/sources.list:/run/secrets/apt_sources:ro" \
    --volume "$here/packages.sh:/packages.sh:ro" "$container" -- sh /packages.sh --upgrade
buildah run --isolation chroot "$container" -- sh -c 'rm -rf /usr/share/locale/* /run/secrets /packages.sh'
buildah commit --quiet "$container" "$name" >/dev/null
