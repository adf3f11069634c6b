"""Prometheus figures of a node's leases."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from runtime.metrics import JOB_BUCKETS

SESSION_CONNECTED = Gauge("yivideo_node_gpu_session_connected", "Whether the lock service's stream is open.")
WAIT_SECONDS = Histogram(
    "yivideo_node_gpu_wait_seconds", "Seconds attempts waited for a lease.", buckets=JOB_BUCKETS
)
LEASES = Gauge("yivideo_node_gpu_leases", "Leases held, those of warm models too.")
LOSSES = Counter("yivideo_node_gpu_losses_total", "Leases that ended before their work, by why.", ["reason"])
WARM_MODELS = Gauge("yivideo_node_warm_models", "Models that stay loaded between tasks.")
WARM_STARTS = Counter(
    "yivideo_node_warm_starts_total", "Uses of a model, by whether it was loaded.", ["model", "hit"]
)
"""`model` is the key that the node's code gave `context.warm`, up to a `#`: a few for each node, never one for each task."""
MODEL_LOAD_SECONDS = Histogram(
    "yivideo_node_model_load_seconds",
    "Seconds from the start of a model's process until the model was loaded.",
    ["model"],
    buckets=JOB_BUCKETS,
)
MODEL_RUN_SECONDS = Histogram(
    "yivideo_node_model_run_seconds",
    "Seconds of one call of a model, or of one stream of its items; loading is not in it.",
    ["model"],
    buckets=JOB_BUCKETS,
)


def model_label(key: str) -> str:
    """Return what figures call a model: its key without what tells users' own voices and settings apart."""
    return key.partition("#")[0]
