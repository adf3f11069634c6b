#!/bin/sh
# Starts one Redis as what the sentinels say that it is. Whom none of them knows yet: the first is the primary.
# GROUP: what sentinels call it; SERVICE: its headless Service; REDIS_PASSWORD.
set -eu
me="$(hostname).$SERVICE.yivideo.svc"
primary=""
for sentinel in sentinel-0 sentinel-1 sentinel-2; do
    primary=$(timeout 2 redis-cli -h "$sentinel.sentinel.yivideo.svc" -p 26379 sentinel get-master-addr-by-name "$GROUP" 2>/dev/null |
        head -n 1) || primary=""
    case $primary in *.yivideo.svc) break ;; *) primary="" ;; esac
done
[ -n "$primary" ] || primary="$SERVICE-0.$SERVICE.yivideo.svc"
follow=""
[ "$primary" = "$me" ] || follow="replicaof $primary 6379"
echo "starting $me; the primary is $primary" >&2
# By standard input: arguments are for everybody's eyes. Not by a pipe: the shell would stay in front of it and keep SIGTERM to itself.
exec redis-server - <<END
include /etc/redis/redis.conf
requirepass $REDIS_PASSWORD
masterauth $REDIS_PASSWORD
replica-announce-ip $me
$follow
END
