#!/bin/sh
# Makes what deploy/compose.yaml needs to be told in private: secrets.sh FOLDER REDIS_URL
#
#   core.yaml   settings of gateway, scheduler, filestore and lock service that hold secrets, and the cards of the machine
#   node.yaml   those of nodes: the token alone
#   api_key     a key for clients, which the gateway knows by its hash only
#
# REDIS_URL ends before the database: redis://[user:password@]host:port. What is there already stays.
set -eu
[ $# -eq 2 ] || {
    echo "usage: deploy/secrets.sh FOLDER REDIS_URL    (for example .secrets redis://redis:6379)" >&2
    exit 2
}
folder=$1
redis=${2%/}

case $redis in redis://* | rediss://*) ;; *)
    echo "secrets: REDIS_URL is redis://[user:password@]host:port" >&2
    exit 2
    ;;
esac
# Containers read the files as uid 10001 through their mounts; on this machine the folder keeps everybody else out.
umask 077
mkdir -p "$folder"
chmod 700 "$folder"
if [ -e "$folder/core.yaml" ]; then
    echo "secrets: $folder/core.yaml is there and stays"
    exit 0
fi
hex() { od -An -v -N32 -tx1 /dev/urandom | tr -d ' \n'; }
token=$(hex)
key=yiv_$(hex)
printf '%s\n' "$key" >"$folder/api_key"
digest=$(printf %s "$key" | sha256sum | cut -d ' ' -f 1)
callbacks=$(head -c 32 /dev/urandom | base64 | tr -d '\n')
cat >"$folder/node.yaml" <<END
runtime: {token: $token}
END
cat >"$folder/core.yaml" <<END
runtime: {token: $token}
gateway:
  api_keys:
    - {key_sha256: $digest, user: operator, scopes: [tasks, files, operations]}
scheduler:
  redis_url: "$redis/0"
  callbacks: {secrets: ["whsec_$callbacks"]}
  page_secret: $(hex)
filestore: {url_key: $(hex)}
gpulock:
  redis_url: "$redis/2"
  # The cards of this machine, one line each (visible: "0"). Without any, this one stands in, and nothing is computed on it.
  devices:
    - {name: gpu-0, memory_mib: 8192}
END
chmod 444 "$folder/core.yaml" "$folder/node.yaml"
echo "secrets: $folder has core.yaml, node.yaml and api_key"
