#!/bin/sh
# Makes the environment of a large engine, in .environments/engine-NAME: engine.sh pyannote|demucs|separator. Gigabytes.
# Not locked as the others are: torch comes first and by pip alone, since what else pins or ranges it would bring builds for CUDA cards.
set -eu
cd "$(dirname "$0")/.."
name=$1
folder=.environments/engine-$name
base="-r requirements/nodekit.in -r requirements/runtime.in"
torch=torch==2.13.0
case $name in
pyannote) node=diarize own="-r services/diarize/requirements-pyannote.in" ;;
demucs) node=separate own="-r services/separate/requirements-separation.in" ;;
separator) node=separate own="-r services/separate/requirements-separator.in" ;;
*)
    echo "engine.sh: no engine is called $name" >&2
    exit 2
    ;;
esac
digest=$(cat "$0" requirements/nodekit.in requirements/runtime.in services/"$node"/requirements*.in | sha256sum | cut -d ' ' -f 1)
[ "$(cat "$folder/digest" 2>/dev/null || true)" = "$digest" ] && exit 0
echo "setup: making the environment of $name"
rm -rf "$folder"
${PYTHON:-python3} -m venv "$folder"
pip="$folder/bin/python -m pip install -q --disable-pip-version-check"
# shellcheck disable=SC2086 # lists of words
{
    $pip $torch
    $pip $torch $base -r "services/$node/requirements.in" $own
    # Its own requirement of diffq (CC BY-NC) and onnx2torch (which breaks torch) is why it comes without any.
    [ "$name" != separator ] || $pip --no-deps audio-separator==0.47.1
}
# Built for CUDA: without a card its native part does not load, and where that is absent it goes on in Python.
"$folder/bin/python" -c 'import torch, sys; sys.exit(not torch.cuda.is_available())' 2>/dev/null ||
    rm -f "$folder"/lib/python3*/site-packages/torchaudio/lib/*.so
echo "$digest" >"$folder/digest"
