"""Which tasks live: the scheduler's running tasks beside the leases of the lock service."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gateway.monitoring import lock_presenter
from gateway.monitoring.answers import watcher as answers
from gateway.monitoring.lock_presenter import optional_unix, unix, who
from gateway.monitoring.watcher_presenter import BEAT_TIMEOUT
from gateway.use import states
from yivideo.gpulock.v1 import monitor_pb2 as pb
from yivideo.task.v1 import task_pb2

RUNNING = frozenset({task_pb2.TASK_STATE_RUNNING, task_pb2.TASK_STATE_CANCELLING})


def _optional_beat(holder: pb.Holder | None) -> float | None:
    return optional_unix(holder, "beat_time") if holder is not None else None


def heartbeat_data(task: task_pb2.Task | None, holder: pb.Holder | None) -> answers.HeartbeatData:
    """Show what is known of a task by its record and by its lease; one of them is there."""
    beat = _optional_beat(holder)
    start = unix(holder.lease.grant_time) if holder is not None else None
    if task is None:
        assert holder is not None
        return answers.HeartbeatData(
            task_id=who(holder),
            status="running",
            progress=0.0,
            message=holder.purpose,
            last_update=beat,
            start_time=start,
            lease=holder.lease.request_id,
        )
    return answers.HeartbeatData(
        task_id=task.spec.task_id,
        status=states.STATUS[task.state],
        progress=round(task.progress.percent, 2),
        message=states.message(task),
        last_update=beat if beat is not None else unix(task.update_time),
        start_time=optional_unix(task, "run_time") or start,
        lease=holder.lease.request_id if holder is not None else None,
    )


def is_dead(holder: pb.Holder, timeout_seconds: float, now: float) -> bool:
    """Whether the beats of a holder have stopped."""
    beat = _optional_beat(holder)
    last = unix(holder.lease.grant_time) if beat is None else beat
    return holder.state == pb.HOLDER_STATE_QUARANTINED or now - last > timeout_seconds


def _lost(holder: pb.Holder, name: str) -> str:
    # A lease may be taken for whatever reason: its holder may have beaten to the last.
    if holder.state == pb.HOLDER_STATE_QUARANTINED:
        return f"LEASE_REVOKED: {name} has lost its lease, and its memory is not known to be back"
    return f"HEARTBEAT_LOST: {name} does not beat any more"


def is_former(holder: pb.Holder, task: task_pb2.Task | None) -> bool:
    """Whether a lease is of an earlier attempt: its task runs now in another replica, after that node was lost."""
    return (
        task is not None and task.state in RUNNING and bool(task.replica) and task.replica != holder.client_id
    )


class Beats:
    """Who lives: the scheduler's running tasks beside the leases."""

    def __init__(
        self, tasks: Iterable[task_pb2.Task], status: pb.GetStatusResponse, values: Mapping[str, Any]
    ) -> None:
        now = unix(status.time)
        timeout_seconds = float(values.get(BEAT_TIMEOUT, 300.0))
        running = {task.spec.task_id: task for task in tasks if task.state in RUNNING}
        self.active = {name: heartbeat_data(task, None) for name, task in running.items()}
        self.dead: list[pb.Holder] = []
        self.orphaned: list[pb.Holder] = []
        self._running = running
        for holder in filter(lock_presenter.works, status.holders):
            former = is_former(holder, running.get(holder.task_id))
            if is_dead(holder, timeout_seconds, now):
                self.dead.append(holder)
            elif former or (holder.task_id and holder.task_id not in running):
                self.orphaned.append(holder)
            else:
                self.active[who(holder)] = heartbeat_data(running.get(holder.task_id), holder)
        for holder in self.dead:
            self.active.pop(self.name(holder), None)

    def name(self, holder: pb.Holder) -> str:
        """Name a holder: its task, or its request where the task lives without this lease."""
        former = is_former(holder, self._running.get(holder.task_id))
        return holder.lease.request_id if former else who(holder)

    def statistics(self, watcher: pb.Watcher) -> answers.HeartbeatStatistics:
        """Count them."""
        return answers.HeartbeatStatistics(
            total_tasks=len(self.active) + len(self.dead) + len(self.orphaned),
            active_tasks=len(self.active),
            dead_tasks=len(self.dead),
            heartbeat_failures=watcher.heartbeat_timeouts,
            start_time=optional_unix(watcher, "start_time"),
        )

    def shown(self, watcher: pb.Watcher, now: float) -> answers.Heartbeats:
        """Show them."""
        return answers.Heartbeats(
            active_tasks=self.active,
            dead_tasks=[self.name(holder) for holder in self.dead],
            orphaned_tasks=[self.name(holder) for holder in self.orphaned],
            statistics=self.statistics(watcher),
            timestamp=now,
        )

    def problems(self, watcher: pb.Watcher) -> tuple[str, list[str]]:
        """Judge them: a status word, and what is wrong."""
        issues = [_lost(holder, self.name(holder)) for holder in self.dead]
        issues += [
            f"HEARTBEAT_ORPHANED: {self.name(holder)} holds a device and does not run"
            for holder in self.orphaned
        ]
        return ("warning" if issues else "healthy"), issues


def task_heartbeat(
    task_id: str, task: task_pb2.Task | None, holder: pb.Holder | None, *, dead: bool
) -> answers.TaskHeartbeat:
    """Show whether one task lives."""
    if task is None and holder is None:
        return answers.TaskHeartbeat(
            task_id=task_id, heartbeat_exists=False, is_registered=False, status="not_found"
        )
    data = heartbeat_data(task, holder)
    runs = task is not None and task.state in RUNNING
    return answers.TaskHeartbeat(
        task_id=task_id,
        heartbeat_exists=not dead and (runs or holder is not None),
        is_registered=task is not None,
        status="orphaned" if holder is not None and not runs else data.status,
        heartbeat_data=data,
        last_update=data.last_update,
        is_running=runs and not dead,
    )
