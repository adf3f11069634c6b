#!/bin/sh
# Inside a build: makes the environment NAME in /opt/venv out of its lock, without what installs packages, and compiled, because
# the root file system it runs from can be read only.
set -eu
. /sources.sh

UV=.venv/bin/uv setup/environment.sh "$1" "requirements/$1.txt" /opt/venv
# What made it goes; setuptools stays where a package of the lock imports it.
installers="pip setuptools"
! grep -q '^setuptools==' "requirements/$1.txt" || installers=pip
# shellcheck disable=SC2086 # one word for each
.venv/bin/uv pip uninstall --quiet --python /opt/venv/bin/python $installers
rm -f /opt/venv/bin/activate* /opt/venv/bin/Activate* /opt/venv/bin/pip* /opt/venv/lock.sha256
# Where the application lies; a .pth file also reaches children that ignore PYTHONPATH.
echo /opt/yivideo >"$(/opt/venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/yivideo.pth"
# Packages bring files that are no valid Python (templates, other versions' syntax): those are never imported.
/opt/venv/bin/python -W ignore -m compileall -q --invalidation-mode unchecked-hash /opt/venv || true
