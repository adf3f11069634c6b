"""From what the parts say to the one answer about the installation. Knows no HTTP."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, Literal

from gateway.clients.backend import FILESTORE, GPULOCK, SCHEDULER
from gateway.use.parts import Part, Parts
from gateway.v1.answers import status as answers
from gateway.v1.answers.operations import QueueInfo
from runtime import VERSION
from yivideo.gpulock.v1 import monitor_pb2
from yivideo.task.v1 import task_pb2


def queue_info(queue: task_pb2.Queue) -> QueueInfo:
    """Show one node's queue."""
    return QueueInfo(**_queue_fields(queue))


def _queue_fields(queue: task_pb2.Queue) -> dict[str, object]:
    return {
        "node": queue.node,
        "ready": queue.ready_count,
        "delayed": queue.delayed_count,
        "blocked": queue.blocked_count,
        "running": queue.running_count,
        "oldest_wait_seconds": round(queue.oldest_wait_seconds, 3),
        "dead_letters": queue.dead_letter_count,
        "replicas": queue.replica_count,
        "slots": queue.slot_count,
        "free_slots": queue.free_slot_count,
        "problems": list(queue.problems),
    }


def installation_status(
    parts: Parts, *, draining: bool, now: datetime | None = None
) -> answers.InstallationStatus:
    """Show the installation."""
    queues = parts.scheduler.found
    locks = parts.gpulock.found if parts.gpulock else None
    shown = [_gateway(draining=draining), _scheduler(parts.scheduler), _filestore(parts), _gpulock(parts)]
    nodes = None if queues is None else [_node(queue) for queue in queues.queues]
    problems = [*_part_problems(shown), *_node_problems(nodes or ())]
    return answers.InstallationStatus(
        status=_judge(shown, problems),
        problems=problems,
        version=VERSION,
        time=now or datetime.now(UTC),
        parts=shown,
        capacity=None if queues is None else _capacity(queues),
        nodes=nodes,
        devices=None if locks is None else _devices(locks),
        gpu_waiters=None if locks is None else locks.waiter_count,
    )


def _judge(parts: list[answers.PartStatus], problems: list[str]) -> Literal["ok", "degraded", "down"]:
    """Without scheduler or filestore no task can be run; anything else that is wrong leaves something that works."""
    bad = {part.name for part in parts if part.state not in _WELL}
    if bad & {SCHEDULER, FILESTORE}:
        return "down"
    return "degraded" if problems else "ok"


_WELL = ("serving", "absent")


def _part_problems(parts: Iterable[answers.PartStatus]) -> Iterator[str]:
    """Yield a sentence for each part that is not as it should be."""
    for part in parts:
        if part.state not in _WELL:
            yield f"{part.name} is {part.state}" + (f": {part.error}" if part.error else "")


def _node_problems(nodes: Iterable[answers.NodeStatus]) -> Iterator[str]:
    """Yield a sentence for each node that nobody runs while tasks wait for it, and for each thing that is wrong with one."""
    for node in nodes:
        if node.ready and not node.replicas:
            waiting = "1 task waits" if node.ready == 1 else f"{node.ready} tasks wait"
            yield f"{waiting} for node {node.node}, of which no replica is there"
        for problem in node.problems:
            yield f"node {node.node}: {problem}"


def _gateway(*, draining: bool) -> answers.PartStatus:
    state: Literal["draining", "serving"] = "draining" if draining else "serving"
    return answers.PartStatus(
        name="gateway", state=state, error=None, version=VERSION, replicas=None, milliseconds=0.0
    )


def _part(
    name: str, part: Part[Any], version: str, *, wrong: str = "", replicas: int | None = None
) -> answers.PartStatus:
    state: Literal["serving", "failing", "unreachable"] = "failing" if wrong else "serving"
    if part.found is None:
        state = "unreachable"
    return answers.PartStatus(
        name=name,
        state=state,
        error=part.error or wrong or None,
        version=version or None,
        replicas=replicas,
        milliseconds=part.milliseconds,
    )


def _scheduler(part: Part[task_pb2.ListQueuesResponse]) -> answers.PartStatus:
    found = part.found
    replicas = found.scheduler_count if found is not None and found.scheduler_count else None
    return _part(SCHEDULER, part, found.version if found is not None else "", replicas=replicas)


def _filestore(parts: Parts) -> answers.PartStatus:
    found = parts.filestore.found
    if found is None:
        return _part(FILESTORE, parts.filestore, "")
    wrong = "" if found.healthy else f"the {found.backend} store behind it does not answer"
    return _part(FILESTORE, parts.filestore, found.version, wrong=wrong)


def _gpulock(parts: Parts) -> answers.PartStatus:
    if parts.gpulock is None:
        return answers.PartStatus(
            name=GPULOCK, state="absent", error=None, version=None, replicas=None, milliseconds=0.0
        )
    found = parts.gpulock.found
    wrong = "grants pause while leases are reclaimed" if found is not None and found.recovering else ""
    return _part(GPULOCK, parts.gpulock, found.version if found is not None else "", wrong=wrong)


def _node(queue: task_pb2.Queue) -> answers.NodeStatus:
    replicas = [_replica(one) for one in queue.replicas]
    return answers.NodeStatus(**_queue_fields(queue), replica_list=replicas)


def _replica(one: task_pb2.NodeReplica) -> answers.ReplicaStatus:
    state: Literal["connected", "draining", "unreachable"] = "draining" if one.draining else "connected"
    return answers.ReplicaStatus(
        address=one.address,
        replica=one.replica or None,
        state=state if one.connected else "unreachable",
        slots=one.slot_count,
        free_slots=one.free_slot_count,
        engines=list(one.engines),
        models=list(one.warm_models),
        version=one.version or None,
    )


def _capacity(found: task_pb2.ListQueuesResponse) -> answers.Capacity:
    queues = found.queues
    return answers.Capacity(
        slots=sum(queue.slot_count for queue in queues),
        free_slots=sum(queue.free_slot_count for queue in queues),
        running=sum(queue.running_count for queue in queues),
        waiting=sum(queue.ready_count for queue in queues),
        oldest_wait_seconds=round(max((queue.oldest_wait_seconds for queue in queues), default=0.0), 3),
    )


def _devices(found: monitor_pb2.GetStatusResponse) -> list[answers.DeviceStatus]:
    holders = Counter(one.device for holder in found.holders for one in holder.lease.devices)
    return [
        answers.DeviceStatus(
            device=device.device,
            memory_mib=device.memory_mib,
            leased_mib=device.leased_mib + device.quarantined_mib,
            holders=holders[device.device],
            draining=device.draining,
        )
        for device in found.devices
    ]
