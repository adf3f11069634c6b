"""Prometheus figures of a node. Never labelled by task or user: those are without bound."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from runtime.metrics import JOB_BUCKETS

RUN_SECONDS = Histogram(
    "yivideo_task_run_seconds", "Seconds an attempt ran.", ["task_name"], buckets=JOB_BUCKETS
)
MEDIA_SECONDS = Counter(
    "yivideo_task_media_seconds_total", "Seconds of audio or video that were worked through.", ["task_name"]
)
REALTIME_FACTOR = Histogram(
    "yivideo_task_realtime_factor",
    "Seconds of work for one second of media: 0.1 is ten times faster than it plays.",
    ["task_name"],
    buckets=(0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10),
)
ATTEMPTS = Counter("yivideo_attempts_total", "Attempts ended, by how.", ["task_name", "outcome"])
SLOTS = Gauge("yivideo_node_slots", "Attempts this replica can run at once.", ["node"])
FREE_SLOTS = Gauge("yivideo_node_free_slots", "Slots that are free now; 0 while draining.", ["node"])
CHILDREN = Gauge("yivideo_node_children", "Child processes that attempts have running.")
WATCHERS = Gauge("yivideo_node_watchers", "Streams that watch attempts of this replica.")
CACHE_BYTES = Gauge("yivideo_node_cache_bytes", "Bytes of fetched media that are kept.")
CACHE_LOOKUPS = Counter("yivideo_node_cache_lookups_total", "Fetches, by whether the cache had it.", ["hit"])
