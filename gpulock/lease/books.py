"""The counted figures and the log lines of what the store pushes."""

from __future__ import annotations

from gpulock import metrics
from gpulock.store.script_store import Push
from runtime.logs import get_logger

log = get_logger(__name__)


def keep_book(push: Push) -> None:
    """Count and log one message to a client, whichever replica it goes to."""
    record = push.record
    if push.kind == "granted":
        metrics.GRANTS.labels(record.pool).inc()
        metrics.WAIT_SECONDS.labels(record.pool).observe((record.granted_us - record.asked_us) / 1e6)
        if record.warm:
            metrics.WARM_HITS.inc()
            metrics.RELEASES.labels("resumed").inc()
    elif push.kind == "lost":
        metrics.REVOCATIONS.labels(push.extra).inc()
        metrics.RELEASES.labels(push.extra).inc()
        if not record.parked:
            metrics.HOLD_SECONDS.observe((push.now_us - record.granted_us) / 1e6)
        log.warning("lease revoked", request=record.request_id, holder=record.holder, reason=push.extra)
    elif push.kind in ("warning", "stop"):
        level = "warning" if push.kind == "warning" else push.extra
        metrics.TIMEOUTS.labels(level).inc()
        what = "lease held for long" if push.kind == "warning" else "holder asked to stop"
        log.warning(what, request=record.request_id, holder=record.holder, reason=level)
