"""Looks, before a task is stored, whether the files that its input names are there for its user.

What a download would be refused, a task is refused too, with the field named. What lies at a path when the task runs is checked
again, by the node that reads it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import grpc
import orjson

from runtime.channel import open_channel
from runtime.errors import FieldViolation, InvalidInput
from runtime.json_pointer import unescaped
from runtime.logs import get_logger
from runtime.settings import RuntimeSection
from runtime.structs import from_struct
from scheduler.queue.references import Place, to_pointer
from yivideo.file.v1 import file_pb2, file_pb2_grpc
from yivideo.task.v1 import task_pb2

log = get_logger(__name__)

_CHECK_SECONDS = 2.0
_MOST_REFERENCES = 32
"""Files of one input that are looked for; the node looks for all of them."""
_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*:")
_REFUSALS = frozenset(
    {grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.PERMISSION_DENIED}
)
_MARK = '"media-ref"'


class InputFiles:
    """Asks the filestore; without one, or while it does not answer, every input passes."""

    def __init__(self, filestore_address: str, runtime: RuntimeSection) -> None:
        self._channel: grpc.aio.Channel | None = None
        self._stub: file_pb2_grpc.FileServiceAsyncStub | None = None
        if filestore_address:
            self._channel = open_channel(filestore_address, runtime)
            self._stub = file_pb2_grpc.FileServiceStub(self._channel)

    async def aclose(self) -> None:
        """Close the channel to the filestore."""
        if self._channel is not None:
            await self._channel.close()

    def wanted(self, spec: task_pb2.TaskSpec, input_schema: str) -> list[tuple[Place, str]]:
        """Return the stored files that a task's input names; none when they may come before it starts, or need no look."""
        later = spec.depends_on or spec.delay_seconds or spec.HasField("start_time")
        if self._stub is None or later or _MARK not in input_schema:
            return []
        schema = orjson.loads(input_schema)
        found = media_references(schema, schema, from_struct(spec.input))
        return [(place, ref) for place, ref in found if _is_stored(ref)][:_MOST_REFERENCES]

    async def check(self, spec: task_pb2.TaskSpec, wanted: list[tuple[Place, str]]) -> None:
        """Raise InvalidInput, with a pointer below `/input`, for files that are not there for the task's user."""
        try:
            async with asyncio.timeout(_CHECK_SECONDS):
                missing = await asyncio.gather(*[self._is_missing(spec, ref) for _, ref in wanted])
        except (TimeoutError, grpc.aio.AioRpcError) as error:
            log.debug("inputs are not looked for", reason=type(error).__name__)
            return
        faults = [
            FieldViolation("/input" + to_pointer(place), f"there is no file {ref!r}")
            for (place, ref), gone in zip(wanted, missing, strict=True)
            if gone
        ]
        if faults:
            raise InvalidInput(f"{faults[0].pointer}: {faults[0].detail}", fields=faults)

    async def _is_missing(self, spec: task_pb2.TaskSpec, ref: str) -> bool:
        stub = self._stub
        assert stub is not None
        caller = file_pb2.Caller(user=spec.user, all_files=spec.all_files)
        bucket, path = ref[len("s3://") :].split("/", 1) if ref.startswith("s3://") else ("", ref)
        try:
            if not path.endswith("/"):
                await stub.StatFile(file_pb2.StatFileRequest(bucket=bucket, path=path, caller=caller))
                return False
            request = file_pb2.ListFilesRequest(
                bucket=bucket, prefix=path, recursive=True, page_size=1, caller=caller
            )
            page = await stub.ListFiles(request)
            return not page.files and not page.next_page_token
        except grpc.aio.AioRpcError as failed:
            if failed.code() in _REFUSALS:
                return True
            raise


def _is_stored(ref: str) -> bool:
    """Say whether a reference is an object path or `s3://bucket/path`, and no reference to another task's output."""
    if "${{" in ref or ref.startswith("/"):
        return False
    scheme = _SCHEME.match(ref)
    return scheme is None or (ref.startswith("s3://") and "/" in ref[len("s3://") :])


def media_references(
    schema: dict[str, Any], part: object, value: object, at: Place = (), seen: set[int] | None = None
) -> Iterator[tuple[Place, str]]:
    """Yield the place and text of every media reference in a value.

    `part` is the piece of the schema that is about it; `seen` are those that were looked at for it already: a foreign node's schema
    may refer to itself.
    """
    seen = set() if seen is None else seen
    if not isinstance(part, dict) or id(part) in seen:
        return
    seen.add(id(part))
    for also in _also(schema, part):
        yield from media_references(schema, also, value, at, seen)
    if isinstance(value, str):
        if part.get("format") == "media-ref":
            yield at, value
    elif isinstance(value, dict):
        properties, others = part.get("properties") or {}, part.get("additionalProperties")
        for key, item in value.items():
            yield from media_references(schema, properties.get(key, others), item, (*at, key))
    elif isinstance(value, list):
        first = part.get("prefixItems") or []
        for index, item in enumerate(value):
            about = first[index] if index < len(first) else part.get("items")
            yield from media_references(schema, about, item, (*at, index))


def _also(schema: dict[str, Any], part: dict[str, Any]) -> Iterator[object]:
    """Yield the other pieces of a schema that are about the same value."""
    if isinstance(ref := part.get("$ref"), str):
        yield _local(schema, ref)
    for keyword in ("anyOf", "oneOf", "allOf"):
        yield from part.get(keyword) or ()


def _local(schema: dict[str, Any], ref: str) -> object:
    """Return what a reference within the schema is about; None for any other."""
    found: object = schema if ref.startswith("#") else None
    for step in ref.removeprefix("#").split("/")[1:]:
        found = found.get(unescaped(step)) if isinstance(found, dict) else None
    return found
