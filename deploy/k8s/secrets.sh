#!/bin/sh
# Prints the Secret `yivideo` with new random values, for `kubectl create -f -`; the API key that it knows goes to standard error, once.
#
#   secrets.sh USER [REDIS_URL LEASE_REDIS_URL S3_ACCESS_KEY S3_SECRET_KEY]
#
# With four more arguments for Redis and S3 elsewhere; without them for components/embedded-redis (or sentinel) and embedded-s3, whose passwords
# it makes. Each run makes other values. So `create`, which leaves alone what is there: stores would refuse their users, and receivers of callbacks
# know its secret.
set -eu
user=${1:?secrets.sh USER [REDIS_URL LEASE_REDIS_URL S3_ACCESS_KEY S3_SECRET_KEY]}
hex() { od -An -v -N32 -tx1 /dev/urandom | tr -d ' \n'; }

key=yiv_$(hex)
digest=$(printf %s "$key" | sha256sum | cut -d ' ' -f 1)
callbacks=$(head -c 32 /dev/urandom | base64 | tr -d '\n')
password=$(hex)
access=${4:-$(hex)}
secret=${5:-$(hex)}

cat <<END
apiVersion: v1
kind: Secret
metadata: {name: yivideo, namespace: yivideo}
type: Opaque
stringData:
  token: "$(hex)"
  api-keys: '[{"key_sha256": "$digest", "user": "$user", "scopes": ["tasks", "files", "operations"]}]'
  callback-secrets: '["whsec_$callbacks"]'
  page-secret: "$(hex)"
  url-key: "$(hex)"
  redis-password: "$password"
  redis-url: "${2:-redis://:$password@redis:6379/0}"
  lease-redis-url: "${3:-redis://:$password@lease-redis:6379/2}"
  s3-access-key: "$access"
  s3-secret-key: "$secret"
  s3.json: |
    {"identities": [{"name": "yivideo", "credentials": [{"accessKey": "$access", "secretKey": "$secret"}],
                     "actions": ["Admin", "Read", "List", "Tagging", "Write"]}]}
END
printf 'the API key of %s, shown this once: %s\n' "$user" "$key" >&2
