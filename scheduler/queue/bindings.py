"""Where an input takes values from the outputs of other tasks: wanted at submit, bound then, filled in at the claim.

A submit names its **sources**: references, and fields that it left out and its workflow may supply (`queue/smart_source.py`).
The submit's script binds each to a task, for which the new task then waits too, and keeps the **bindings** in the record; so
what a reference means is settled once, whatever is submitted later. The claim fills in the values.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from runtime.errors import BadReference, FieldViolation, InvalidInput
from runtime.structs import from_struct
from scheduler.queue.keys import Keys
from scheduler.queue.record import TaskRecord
from scheduler.queue.redis_link import RedisLink
from scheduler.queue.references import find_references, from_pointer, replaced, to_pointer
from yivideo.task.v1 import task_pb2

_NAMED_FIELDS = 12


class ReferenceUnresolved(Exception):
    """A value that an input needs is not there; `pointer` leads into the input."""

    def __init__(self, message: str, pointer: str) -> None:
        super().__init__(message)
        self.pointer = pointer


@dataclass(frozen=True, slots=True)
class Want:
    """A value of another task's output."""

    kind: str
    """`tasks`: of the task `name`; `stages`: of a task of the type `name`."""
    name: str
    path: str
    """JSON pointer into the output."""


@dataclass(frozen=True, slots=True)
class Source:
    """One place of an input that takes its value from elsewhere."""

    pointer: str
    """JSON pointer into the input."""
    wants: tuple[Want, ...]
    """In order of preference; a reference has one."""
    fill: bool = False
    """The input left the field out: the first of `wants` that has a value gives it."""
    required: bool = True
    """Whether there must be one."""


def to_json(sources: Sequence[Source]) -> bytes:
    """Return what the submit's script reads."""
    return orjson.dumps(
        [
            {
                "at": source.pointer,
                "wants": [[want.kind, want.name, want.path] for want in source.wants],
                "fill": source.fill,
                "required": source.required,
            }
            for source in sources
        ]
    )


def unbound(source: Source, within: str = "") -> Exception:
    """Return the refusal of a submit for whose source there is no task; `within` leads to its spec."""
    at, names = f"{within}/input{source.pointer}", [want.name for want in source.wants]
    if source.fill:
        detail = f"is required; the workflow has no task {' or '.join(dict.fromkeys(names))} to take it from"
        return InvalidInput(f"{at}: {detail}", fields=[FieldViolation(at, detail)])
    if source.wants[0].kind == "tasks":
        detail = f"no such task: {names[0]!r}"
    else:
        detail = f"the workflow has no task {names[0]!r}; submit it first, with the same workflow_id"
    return BadReference(f"{at}: {detail}", fields=[FieldViolation(at, detail)])


@dataclass(frozen=True, slots=True)
class _Given:
    """A task as a giver of values."""

    name: str
    state: str
    output: Mapping[str, Any]


class Bindings:
    """Fills inputs in."""

    def __init__(self, redis: RedisLink, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys

    async def resolved(self, record: TaskRecord, value: dict[str, Any]) -> dict[str, Any]:
        """Return a copy of an input with every bound value in its place. Raises ReferenceUnresolved."""
        bindings = orjson.loads(record.bindings) if record.bindings else await self._of_old(record, value)
        givers = await self._givers({task_id for one in bindings for task_id, _ in one["from"]}, record.user)
        values: dict[str, Any] = {}
        filled: dict[str, Any] = {}
        for one in bindings:
            if one["fill"]:
                filled |= _fill(one, givers)
            else:
                task_id, path = one["from"][0]
                values[one["at"]] = _value(task_id, path, givers.get(task_id), one["at"])
        made: dict[str, Any] = replaced(value, lambda pointer: (pointer in values, values.get(pointer)))
        return made | filled

    async def _givers(self, task_ids: Collection[str], user: str) -> dict[str, _Given]:
        ordered = sorted(task_ids)
        if not ordered:
            return {}

        def reads(pipe: Any) -> None:
            for task_id in ordered:
                pipe.hmget(self._keys.task(task_id), "name", "state", "user")
            pipe.mget(*(self._keys.task(task_id, "result") for task_id in ordered))

        *heads, results = await self._redis.read(reads)
        found = {}
        for task_id, (name, state, owner), raw in zip(ordered, heads, results, strict=True):
            if state is not None and owner == user.encode():
                output = from_struct(task_pb2.TaskCompleted.FromString(raw).output) if raw else {}
                found[task_id] = _Given(name.decode(), state.decode(), output)
        return found

    async def _of_old(self, record: TaskRecord, value: dict[str, Any]) -> list[dict[str, Any]]:
        """Bind the references of a task that was stored before submits did: to the newest completed task of each name."""
        references = find_references(value)
        if not references:
            return []
        (names,) = await self._redis.read(
            lambda pipe: pipe.zrevrange(self._keys.workflow(record.workflow_id), 0, 499)
        )
        givers = await self._givers([name.decode() for name in names], record.user)
        bindings = []
        for reference in references:
            wanted = (
                name.decode()
                for name in names
                if (giver := givers.get(name.decode())) is not None
                and (giver.name, giver.state) == (reference.name, "completed")
            )
            source = [next(wanted, reference.name), to_pointer(reference.path)]
            bindings.append({"at": to_pointer(reference.place), "fill": False, "from": [source]})
        return bindings


def _fill(binding: Mapping[str, Any], givers: Mapping[str, _Given]) -> dict[str, Any]:
    """Return the field that an input left out, with the first value that there is."""
    (field,) = from_pointer(binding["at"])
    for task_id, path in binding["from"]:
        giver = givers.get(task_id)
        known, value = _dig(giver.output, path) if giver else (False, None)
        if known and value not in (None, "", [], {}):
            return {field: value}
    if binding["required"]:
        tasks = ", ".join(dict.fromkeys(repr(task_id) for task_id, _ in binding["from"]))
        raise ReferenceUnresolved(f"{field} is required, and no value came from {tasks}", binding["at"])
    return {}


def _value(task_id: str, path: str, giver: _Given | None, at: str) -> Any:
    if giver is None:
        raise ReferenceUnresolved(f"task {task_id!r}, whose output is referred to, no longer exists", at)
    known, value = _dig(giver.output, path)
    if known:
        return value
    if giver.state != "completed":
        raise ReferenceUnresolved(f"task {task_id!r}, whose output is referred to, is {giver.state}", at)
    field = ".".join(from_pointer(path))
    raise ReferenceUnresolved(
        f"the output of task {task_id!r} ({giver.name}) has no field {field!r}; it has {_listed(giver.output)}",
        at,
    )


def _listed(output: Mapping[str, Any]) -> str:
    names = sorted(output)
    return ", ".join(names[:_NAMED_FIELDS]) + (", …" if len(names) > _NAMED_FIELDS else "") or "none"


def _dig(value: Any, path: str) -> tuple[bool, Any]:
    """Return whether there is a value at a pointer, and it."""
    for part in from_pointer(path):
        if isinstance(value, Mapping) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdecimal() and len(part) < 8 and int(part) < len(value):
            value = value[int(part)]
        else:
            return False, None
    return True, value
