"""The multipart form of an audio file: fields in any order around one file, which goes into the store as it arrives."""

from __future__ import annotations

import re
from typing import TypeVar

from aiohttp import web

from gateway.access import file_caller
from gateway.http.body import checked
from gateway.http.body_stream import reading
from gateway.http.multipart import FormReader, boundary_of
from gateway.installation import BACKEND, SETTINGS
from gateway.openai.requests import TranslationFields
from gateway.use.transfer import uploading
from runtime.errors import InvalidArgument
from yivideo.file.v1 import file_pb2

F = TypeVar("F", bound=TranslationFields)

FORM_SCHEMA = {
    "type": "object",
    "required": ["file", "model"],
    "properties": {"file": {"type": "string", "format": "binary", "description": "Audio or video."}},
}

_MAX_FIELD_BYTES = 16 * 1024
_LISTS = frozenset({"timestamp_granularities"})
_IGNORED = frozenset({"chunking_strategy", "include"})
"""What some clients always send, and what has no meaning here."""
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9._-]+")


async def read_audio_form(request: web.Request, kind: type[F], task_id: str) -> tuple[F, str]:
    """Store the file under a task's id; return the fields and the object path. Raises InvalidArgument, PayloadTooLarge."""
    settings = request.app[SETTINGS]
    reader = FormReader(
        reading(request, settings.stalled_client_seconds),
        boundary_of(request.headers.get("Content-Type", "")),
        max_field_bytes=_MAX_FIELD_BYTES,
    )
    values: dict[str, str | list[str]] = {}
    path = ""
    while (part := await reader.next_part()) is not None:
        if part.name == "file":
            if path:
                raise InvalidArgument.at("/file", "comes twice")
            path = f"{task_id}/input/{_file_name(part.filename)}"
            header = file_pb2.UploadHeader(path=path, caller=file_caller(request), task_id=task_id)
            await _store(request, reader, header)
        else:
            _take(values, part.name, await reader.text())
    if not path:
        raise InvalidArgument.at("/file", "is missing")
    return checked(kind, values), path


async def _store(request: web.Request, reader: FormReader, header: file_pb2.UploadHeader) -> None:
    expected, limit = request.content_length or 0, request.app[SETTINGS].max_upload_bytes
    async with uploading(request.app[BACKEND], header, expected, limit, content_field="/file") as upload:
        await upload.send(reader.content())
        await upload.finish()


def _take(values: dict[str, str | list[str]], name: str, text: str) -> None:
    name = name.removesuffix("[]")
    if name in _LISTS:
        held = values.setdefault(name, [])
        assert isinstance(held, list)
        held.append(text)
    elif name in values:
        raise InvalidArgument.at(f"/{name[:64]}", "comes twice")
    elif name not in _IGNORED and text:
        values[name] = text


def _file_name(given: str | None) -> str:
    """Return a plain name that keeps the ending, by which programs tell formats."""
    name = _NOT_IN_A_NAME.sub("_", (given or "").rpartition("/")[2])[-100:].lstrip(".-")
    return name or "audio"
