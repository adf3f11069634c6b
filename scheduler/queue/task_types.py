"""The catalogue of task types: what every node ever published, kept in Redis so that tasks are accepted while a node is away."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import jsonschema_rs
import orjson

from runtime.errors import FieldViolation, InvalidInput, UnknownTaskType
from runtime.logs import get_logger
from scheduler.queue.keys import Keys
from scheduler.queue.redis_link import RedisLink
from scheduler.queue.references import Place, Reference, to_pointer
from yivideo.task.v1 import task_pb2

log = get_logger(__name__)

_MAX_VIOLATIONS = 16
_COMPOSITE_KEYWORDS = frozenset({"anyOf", "oneOf", "allOf", "not", "if", "contains", "dependentSchemas"})
_UNKNOWN_RETRY_SECONDS = 1.0
_REQUIRED = "is required"


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
        for raw in stored.values():
            self._keep(task_pb2.TaskType.FromString(raw))

    async def learn(self, published: list[task_pb2.TaskType]) -> None:
        """Keep what a node publishes, here and in Redis; tells the other replicas when something is new."""
        fresh = {
            kind.name: kind.SerializeToString(deterministic=True)
            for kind in published
            if self.find(kind.name) != kind
        }
        if not fresh:
            return
        usable = [kind for kind in published if kind.name in fresh and self._keep(kind)]
        if usable:
            mapping = {kind.name: fresh[kind.name] for kind in usable}

            def write(pipe: Any) -> None:
                pipe.hset(self._keys.types, mapping=mapping)
                pipe.publish(self._keys.wake_channel, "types")

            await self._redis.read(write)
            log.info("task types learned", names=sorted(mapping))

    def _keep(self, kind: task_pb2.TaskType) -> bool:
        try:
            schema = orjson.loads(kind.input_schema or "{}")
            output = orjson.loads(kind.output_schema or "{}")
            validator = jsonschema_rs.Draft202012Validator(schema)
        except ValueError as error:
            log.error("a node published a schema that cannot be used", task_name=kind.name, error=str(error))
            return False
        closed = output.get("additionalProperties") is False
        self._known[kind.name] = KnownType(
            kind,
            validator,
            fields=frozenset(schema.get("properties", ())),
            required=frozenset(schema.get("required", ())),
            output_fields=frozenset(output.get("properties", ())) if closed else None,
        )
        return True

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


def check_input(
    known: KnownType,
    value: dict[str, Any],
    references: Sequence[Reference] = (),
    filled: Collection[str] = (),
) -> None:
    """Check an input against its type's JSON Schema; the places of references, and the fields that the workflow fills, are left to
    the node.

    Raises InvalidInput with pointers below `/input`.
    """
    faults = list(known.validator.iter_errors(value))
    if not faults:
        return
    places = [reference.place for reference in references]
    violations = []
    for fault in faults:
        at = tuple(fault.instance_path)
        if any(_excused(at, place, fault) for place in places):
            continue
        violations += [
            FieldViolation("/input" + to_pointer(where), detail)
            for where, detail in _named(at, fault)
            if detail != _REQUIRED or len(where) > 1 or where[0] not in filled
        ]
    if violations:
        first = violations[0]
        raise InvalidInput(f"{first.pointer}: {first.detail}", fields=violations[:_MAX_VIOLATIONS])


def _named(at: Place, fault: Any) -> list[tuple[Place, str]]:
    """Return the fields that a fault is about: a missing or unknown one is named itself, not the object around it."""
    match fault.kind:
        case jsonschema_rs.ValidationErrorKind.Required(property=name):
            return [((*at, name), _REQUIRED)]
        case jsonschema_rs.ValidationErrorKind.AdditionalProperties(unexpected=names):
            return [((*at, name), "is not a field of this task") for name in names]
    return [(at, fault.message)]


def _excused(at: Place, place: Place, fault: Any) -> bool:
    """Whether a fault is about a value that a reference stands for, or cannot be told from one."""
    if at == place:
        return True
    if len(at) < len(place) and place[: len(at)] == at:
        keywords = {str(part) for part in fault.schema_path}
        return bool(keywords & _COMPOSITE_KEYWORDS)
    return False
