#!/bin/sh
# Starts one sentinel. It writes into its settings what it has seen, so they are made once and kept on its volume.
set -eu
file=/data/sentinel.conf
if [ ! -s "$file" ]; then
    {
        printf '%s\n' "port 26379" "dir /data" "requirepass $REDIS_PASSWORD" "sentinel sentinel-pass $REDIS_PASSWORD" \
            "sentinel resolve-hostnames yes" "sentinel announce-hostnames yes" \
            "sentinel announce-ip $(hostname).sentinel.yivideo.svc"
        for pair in tasks=redis leases=lease-redis; do
            group=${pair%=*} service=${pair#*=}
            # Two of three must agree that it is gone; five seconds, so that a fork of a large Redis is not taken for a death.
            printf '%s\n' "sentinel monitor $group $service-0.$service.yivideo.svc 6379 2" \
                "sentinel auth-pass $group $REDIS_PASSWORD" "sentinel down-after-milliseconds $group 5000" \
                "sentinel failover-timeout $group 30000" "sentinel parallel-syncs $group 1"
        done
    } >"$file.new"
    mv "$file.new" "$file"
fi
exec redis-server "$file" --sentinel
