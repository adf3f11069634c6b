"""Answers about the installation: task types, queues, deliveries, health."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from gateway.http.model import Answer


class TaskTypeInfo(Answer):
    """One kind of task."""

    name: str
    """`<node>.<method>`."""
    node: str
    """The node that runs it."""
    description: str
    """What it does."""
    input_schema: dict[str, Any]
    """JSON Schema (2020-12) of `input_data`."""
    output_schema: dict[str, Any]
    """JSON Schema (2020-12) of the result's `output`."""
    gpu: bool
    """Whether it may use a GPU."""
    timeout_seconds: int
    """Longest run of an attempt when the client sets none."""
    reuse_field: str
    """Output field that must be non-empty for a result to be reused."""
    media_fields: list[str]
    """Input fields that are media, as JSON pointers."""
    available: bool
    """Whether a node replica offers it now, or did a moment ago. Tasks of a type that is not available wait for one."""
    last_seen_at: datetime | None
    """When a replica last offered it, while none does; null: it is available, or none was seen since this is recorded."""


class TaskTypes(Answer):
    """All task types."""

    task_types: list[TaskTypeInfo]
    """In name order."""


class DeliveryInfo(Answer):
    """One attempt to deliver a callback."""

    attempt: int
    """Its number."""
    time: datetime
    """When it was made."""
    http_status: int | None
    """The receiver's answer; null: none came."""
    error: str | None
    """Why it failed; null: it did not."""
    duration_seconds: float
    """Seconds until the answer or the failure."""
    webhook_id: str
    """The `webhook-id` header."""


class Deliveries(Answer):
    """All attempts at one callback, oldest first."""

    task_id: str
    """The task."""
    callback_status: str | None
    """pending, sent, failed or invalid_url."""
    next_attempt_at: datetime | None
    """When the next attempt is due."""
    deliveries: list[DeliveryInfo]
    """The attempts."""


class QueueInfo(Answer):
    """One node's queue."""

    node: str
    """The node."""
    ready: int
    """Tasks that could start now."""
    delayed: int
    """Tasks that wait for their time."""
    blocked: int
    """Tasks that wait for others."""
    running: int
    """Tasks that run."""
    oldest_wait_seconds: float
    """Age of the longest waiting ready task."""
    dead_letters: int
    """Dead letters kept."""
    replicas: int
    """Replicas of the node."""
    slots: int
    """Their slots."""
    free_slots: int
    """Their free slots."""
    problems: list[str]
    """What is wrong with its replicas: an address that cannot be reached or is another node, task types that were refused."""


class Queues(Answer):
    """Every node's queue."""

    queues: list[QueueInfo]
    """In node order."""


class TasksHealth(Answer):
    """Whether tasks can be run."""

    status: str
    """healthy or unhealthy."""
    service: str
    """Who answers."""
    celery_broker: str
    """The scheduler's health, under the origin's name."""
    minio_service: str
    """The filestore's health, under the origin's name."""
    scheduler: str
    """healthy or unhealthy."""
    filestore: str
    """healthy or unhealthy."""


class SupportedTask(Answer):
    """Whether one kind of task can be run now."""

    name: str
    """`<node>.<method>`."""
    available: bool
    """Whether a node replica offers it now, or did a moment ago."""
    last_seen_at: datetime | None
    """When a replica last offered it, while none does; null: it is available, or none was seen since this is recorded."""


class SupportedTasks(Answer):
    """The names of all task types, by node."""

    supported_tasks: dict[str, list[str]]
    """Task names by node."""
    total_count: int
    """How many."""
    description: str
    """What this is."""
    tasks: list[SupportedTask]
    """Each task type and whether it can be run now, in name order."""


class Alive(Answer):
    """The process answers."""

    status: str
    """alive."""


class Ready(Answer):
    """Whether requests can be served."""

    status: str
    """ready or not_ready."""
    parts: dict[str, str]
    """healthy or unhealthy, by part."""


class Echo(Answer):
    """What was sent to /test."""

    method: str
    """HTTP method."""
    query: dict[str, str]
    """Query parameters."""
    headers: dict[str, str]
    """Headers, names in lower case; credentials left out."""
    body: str
    """The body as text."""
