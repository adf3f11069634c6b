#!/bin/sh
# Makes an environment that a node runs on, out of its lock: environment.sh NAME [LOCK [FOLDER]]. Does nothing when it is there.
# By default requirements/NAME.txt and .environments/NAME; image builds give a folder of their own. PYTHON and UV name other ones.
set -eu
name=$1
cd "$(dirname "$0")/.."
lock=${2:-requirements/$name.txt}
folder=${3:-.environments/$name}
python=${PYTHON:-python3}
uv=${UV:-.venv/bin/uv}

[ -f "$lock" ] || {
    echo "setup: the environment $name has no lock $lock" >&2
    exit 1
}
digest=$(sha256sum "$lock" | cut -d ' ' -f 1)
[ "$(cat "$folder/lock.sha256" 2>/dev/null || true)" = "$digest" ] && exit 0
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "setup: needs Python 3.11 or newer; set PYTHON to one" >&2
    exit 1
}
echo "setup: making the environment $name: $(grep -c '^[a-zA-Z0-9].*==' "$lock") packages of $lock into $folder"
rm -f "$folder/lock.sha256"
[ -x "$folder/bin/python" ] || "$python" -m venv "$folder"
if ! { [ -x "$uv" ] && "$uv" pip sync -q --python "$folder/bin/python" --require-hashes "$lock"; }; then
    # uv does not read pip's configuration; pip does, slower.
    "$folder/bin/python" -m pip install -q --disable-pip-version-check --require-hashes -r "$lock"
fi
echo "$digest" >"$folder/lock.sha256"
