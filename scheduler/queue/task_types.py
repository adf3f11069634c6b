"""The catalogue of task types: what every node ever published, kept in Redis so that tasks are accepted while a node is away.

A node publishes its own types and no other's: a type belongs to the node that its name begins with. What a node publishes
otherwise, or with a schema that inputs cannot be checked by (`runtime.schema_guard`), is refused, and whoever published
it is told of in log, metrics and ListQueues.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from runtime.errors import FieldViolation, UnknownTaskType
from runtime.logs import get_logger
from runtime.schema_guard import MAX_SCHEMA_BYTES, SchemaRefused, read_closed_schema
from scheduler.queue.input_schema import compile_schema
from scheduler.queue.keys import Keys
from scheduler.queue.redis_link import RedisLink
from yivideo.task.v1 import task_pb2

log = get_logger(__name__)

_UNKNOWN_RETRY_SECONDS = 1.0
_MAX_TIMEOUT_SECONDS = 604_800
_METHOD = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SHOWN_NAME = 128
MAX_TYPES = 1000
"""Task types of one node."""


@dataclass(frozen=True)
class KnownType:
    """One task type and the compiled validator of its input."""

    published: task_pb2.TaskType
    validator: Any
    fields: frozenset[str]
    """Fields of the input that the schema names."""
    required: frozenset[str]
    """Those that it requires."""
    output_fields: frozenset[str] | None
    """All fields that the output can have; None: the schema does not say."""


class TaskTypeCatalog:
    """This process's view of all task types."""

    def __init__(self, redis: RedisLink, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys
        self._known: dict[str, KnownType] = {}
        self._loaded_time = -_UNKNOWN_RETRY_SECONDS

    def all(self, node: str = "") -> list[task_pb2.TaskType]:
        """Return the task types in name order; only those of `node` when it is given."""
        return [
            known.published
            for _, known in sorted(self._known.items())
            if not node or known.published.node == node
        ]

    def find(self, name: str) -> task_pb2.TaskType | None:
        """Return a task type that this process has seen."""
        known = self._known.get(name)
        return known.published if known else None

    def known(self, name: str) -> KnownType | None:
        """Return a task type with what is known of its schemas."""
        return self._known.get(name)

    async def load(self) -> None:
        """Read all task types from Redis; called at start and when another replica has learned something."""
        (stored,) = await self._redis.read(lambda pipe: pipe.hgetall(self._keys.types))
        self._loaded_time = time.monotonic()
        for name in self._known.keys() - {name.decode() for name in stored}:
            del self._known[name]  # nobody has offered it for long
        for raw in stored.values():
            kind = task_pb2.TaskType.FromString(raw)
            try:
                self._known[kind.name] = _known(kind, kind.node)
            except SchemaRefused as error:
                log.error("a stored task type is left out", task_name=kind.name, reason=str(error))

    async def learn(self, node: str, published: Sequence[task_pb2.TaskType]) -> dict[str, str]:
        """Keep what a replica of a node publishes, here and in Redis; tells the other replicas when something is new.

        Returns what is refused, by the type's name, each with its reason. A type of that name that is known stays as it is.
        """
        refused: dict[str, str] = {}
        fresh: list[KnownType] = []
        for kind in published[:MAX_TYPES]:
            if self.find(kind.name) == kind:
                continue
            try:
                fresh.append(_known(kind, node))
            except SchemaRefused as error:
                refused[kind.name[:_SHOWN_NAME]] = str(error)
        if len(published) > MAX_TYPES:
            refused["…"] = f"a node publishes at most {MAX_TYPES} task types"
        if fresh:
            stored = {
                one.published.name: one.published.SerializeToString(deterministic=True) for one in fresh
            }

            def write(pipe: Any) -> None:
                pipe.hset(self._keys.types, mapping=stored)
                pipe.publish(self._keys.wake_channel, "types")

            await self._redis.read(write)
            self._known.update((one.published.name, one) for one in fresh)
            log.info("task types learned", names=sorted(stored))
        return refused

    async def require(self, name: str) -> KnownType:
        """Return a task type. Raises UnknownTaskType when no node has ever published it."""
        known = self._known.get(name)
        if known is None and time.monotonic() - self._loaded_time > _UNKNOWN_RETRY_SECONDS:
            await self.load()
            known = self._known.get(name)
        if known is None:
            raise UnknownTaskType(
                f"no node offers task {name!r}", fields=[FieldViolation("/task_name", "unknown task name")]
            )
        return known


def _known(kind: task_pb2.TaskType, node: str) -> KnownType:
    _check_type(kind, node)
    schema, output = read_closed_schema(kind.input_schema), _output_schema(kind)
    made = output.get("properties", {})
    closed = output.get("additionalProperties") is False and isinstance(made, dict)
    return KnownType(
        kind,
        compile_schema(schema),
        fields=frozenset(schema.get("properties", ())),
        required=frozenset(schema.get("required", ())),
        output_fields=frozenset(made) if closed else None,
    )


def _output_schema(kind: task_pb2.TaskType) -> dict[str, Any]:
    try:
        schema = orjson.loads(kind.output_schema or "{}")
    except ValueError as error:
        raise SchemaRefused(f"the output schema is not JSON: {error}") from None
    if not isinstance(schema, dict):
        raise SchemaRefused("the output schema is not an object")
    return schema


def _check_type(kind: task_pb2.TaskType, node: str) -> None:
    """Raise SchemaRefused for a type that this node may not publish, or that is not one."""
    owner, dot, method = kind.name.partition(".")
    if owner != node or not dot:
        raise SchemaRefused(
            f"the node {node} cannot publish it: a task type belongs to the node that its name begins with"
        )
    if kind.node != node:
        raise SchemaRefused(f"its `node` says {kind.node[:_SHOWN_NAME]!r}, but {node} publishes it")
    if not _METHOD.fullmatch(method):
        raise SchemaRefused("after the node's name and a dot come 1 to 64 of a-z A-Z 0-9 _ -")
    if not 0 <= kind.timeout_seconds <= _MAX_TIMEOUT_SECONDS:
        raise SchemaRefused(f"timeout_seconds is not 0 to {_MAX_TIMEOUT_SECONDS}")
    if len(kind.description.encode()) + len(kind.output_schema.encode()) > MAX_SCHEMA_BYTES:
        raise SchemaRefused(f"description and output schema have more than {MAX_SCHEMA_BYTES // 1024} KiB")
