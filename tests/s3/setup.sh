#!/bin/sh
# Installs the one-node Ceph that tests/s3/radosgw.py starts; `make test-s3` calls it. Needs Debian or Ubuntu and root or sudo.
set -eu
packages="ceph-mon ceph-osd radosgw ceph-common"
for package in $packages; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing="${missing:-} $package"
done
[ -n "${missing:-}" ] || exit 0
if ! command -v apt-get >/dev/null; then
    echo "tests/s3: this machine has no apt-get; install ceph-mon, ceph-osd and radosgw yourself:$missing" >&2
    exit 1
fi
as_root=""
[ "$(id -u)" -eq 0 ] || as_root="sudo"
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086  # the package list is meant to split
install() { $as_root apt-get install -y --no-install-recommends $missing >/dev/null; }
install || { $as_root apt-get update >/dev/null && install; }
