"""The scheduler's figures. Labels are nodes, states and reasons; never task ids or users."""

from __future__ import annotations

import re
from functools import cache

from prometheus_client import Counter, Gauge, Histogram

from runtime.metrics import JOB_BUCKETS, LATENCY_BUCKETS

QUEUE_TASKS = Gauge("yivideo_queue_tasks", "Tasks of a node, by where they are.", ["node", "state"])
QUEUE_OLDEST = Gauge("yivideo_queue_oldest_wait_seconds", "Age of the longest waiting ready task.", ["node"])
NODE_SLOTS = Gauge(
    "yivideo_scheduler_node_slots", "Slots of a node that this scheduler sees.", ["node", "state"]
)
QUEUE_SECONDS = Histogram(
    "yivideo_task_queue_seconds", "From ready to claimed.", ["node"], buckets=LATENCY_BUCKETS
)
PICKUP_SECONDS = Histogram(
    "yivideo_task_pickup_seconds",
    "From claimed to the node's first stored event.",
    ["node"],
    buckets=LATENCY_BUCKETS,
)
RUN_SECONDS = Histogram(
    "yivideo_attempt_seconds", "How long attempts ran.", ["node", "outcome"], buckets=JOB_BUCKETS
)
TASK_TYPES_REFUSED = Counter(
    "yivideo_task_types_refused_total", "Task types that nodes published and that were not taken.", ["node"]
)
TASKS_SUBMITTED = Counter(
    "yivideo_tasks_submitted_total", "Submits, by what became of them.", ["node", "outcome"]
)
queue_seconds = cache(QUEUE_SECONDS.labels)
pickup_seconds = cache(PICKUP_SECONDS.labels)
run_seconds = cache(RUN_SECONDS.labels)
tasks_submitted = cache(TASKS_SUBMITTED.labels)
"""Those that each task counts, found once for each of their labels' values: finding one takes longer than counting."""
TASKS_ENDED = Counter(
    "yivideo_tasks_total",
    "Tasks ended, each once, by outcome and, of failed ones, by error code.",
    ["node", "outcome", "code"],
)
ATTEMPTS_LOST = Counter(
    "yivideo_attempts_lost_total", "Attempts given up because their node was gone or silent.", ["node"]
)
LEASES_ADOPTED = Counter("yivideo_leases_adopted_total", "Attempts taken over from a silent scheduler.")
SWEEP_LAG = Histogram(
    "yivideo_sweep_lag_seconds", "How late a lapsed lease was found.", buckets=LATENCY_BUCKETS
)
LEASE_MARGIN = Histogram(
    "yivideo_lease_margin_seconds", "What was left of leases when they were renewed.", buckets=LATENCY_BUCKETS
)
OUTBOX_AGE = Histogram(
    "yivideo_outbox_age_seconds", "How late a due callback was taken.", buckets=LATENCY_BUCKETS
)
DELIVERIES = Counter("yivideo_deliveries_total", "Attempts to deliver callbacks.", ["outcome"])
WATCHERS = Gauge("yivideo_watchers", "Open event streams of clients.")

_CODE = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
_MOST_CODES = 256
_codes: set[str] = set()


def count_ended(node: str, outcome: str, code: str = "") -> None:
    """Count a task that has ended: completed, skipped, failed or cancelled. Nodes cannot fill the endpoint with made-up codes."""
    if code not in _codes and code:
        if len(_codes) < _MOST_CODES and _CODE.fullmatch(code):
            _codes.add(code)
        else:
            code = "OTHER"
    TASKS_ENDED.labels(node, outcome, code).inc()
