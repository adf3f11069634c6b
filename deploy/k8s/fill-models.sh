#!/bin/sh
# Copies what lies in a folder of models (what `make models` has fetched, model folders of your own) into the claim `models`: fill-models.sh FOLDER.
# Files of the same name are replaced, others stay. Nodes find what they need for each task anew: nothing must be restarted.
set -eu
folder=${1:?fill-models.sh FOLDER}
here=$(cd "$(dirname "$0")" && pwd)
[ -d "$folder" ] || {
    echo "fill-models: there is no folder $folder" >&2
    exit 1
}
image=$(kubectl -n yivideo get deployment gateway -o 'jsonpath={.spec.template.spec.containers[0].image}')
trap 'kubectl -n yivideo delete pod fill-models --ignore-not-found' EXIT
# By itself the shell passes over that one when a signal ends it.
trap 'exit 1' HUP INT TERM
sed "s|image: yivideo-core$|image: $image|" "$here/fill-models.yaml" | kubectl apply -f -
kubectl -n yivideo wait --for=condition=Ready pod/fill-models --timeout=10m
kubectl -n yivideo cp "$folder/." fill-models:/models
kubectl -n yivideo exec fill-models -- ls -l /models
