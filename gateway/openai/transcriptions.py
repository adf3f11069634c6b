"""POST /v1/audio/transcriptions and /v1/audio/translations: speech to text by the task `faster_whisper.transcribe_audio`."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import orjson
from aiohttp import web

from gateway.access import file_caller, viewer
from gateway.http.application import DRAINING
from gateway.http.model import NoQuery
from gateway.http.query import read_query
from gateway.http.route import EVENT_STREAM, JSON, Content, Route
from gateway.http.sse import EventWriter, stream
from gateway.installation import BACKEND, SETTINGS, TASKS
from gateway.openai.audio_form import FORM_SCHEMA, read_audio_form
from gateway.openai.errors import error_value
from gateway.openai.one_task import OneTask, completed, failure, one_task
from gateway.openai.requests import TranscriptionFields, TranslationFields
from gateway.openai.transcript import Transcript, joined
from gateway.settings import Scope
from runtime.errors import Cancelled, YiVideoError
from runtime.structs import from_struct
from yivideo.task.v1 import task_pb2

TASK_NAME = "faster_whisper.transcribe_audio"
NODE = "asr"
STOCK_MODELS = ("whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe")
"""OpenAI's own names: they stand for the node's own choice."""

_MEDIA_TYPES = {"text": "text/plain", "srt": "application/x-subrip", "vtt": "text/vtt"}


async def create_transcription(request: web.Request) -> web.StreamResponse:
    """Write down what is said in a recording.

    With `stream` the text comes as `transcript.text.delta` events while it is heard and ends with `transcript.text.done`, which
    has all of it. Leaving ends the work. 503 when no node hears speech here.
    """
    read_query(request, NoQuery)
    async with one_task(request, TASK_NAME, NODE) as task:
        fields, path = await read_audio_form(request, TranscriptionFields, task.task_id)
        values = _input(fields, path, "transcribe")
        if fields.language is not None:
            values |= {"language": fields.language, "multilingual": False}
        if fields.stream:
            return await _streamed(request, task, values)
        return await _answered(request, task, values, fields, fields.timestamp_granularities)


async def create_translation(request: web.Request) -> web.StreamResponse:
    """Write down in English what is said in a recording. 503 when no node hears speech here."""
    read_query(request, NoQuery)
    async with one_task(request, TASK_NAME, NODE) as task:
        fields, path = await read_audio_form(request, TranslationFields, task.task_id)
        return await _answered(request, task, _input(fields, path, "translate"), fields, [])


def _input(fields: TranslationFields, path: str, task: str) -> dict[str, Any]:
    form = fields.response_format
    values: dict[str, Any] = {
        "audio_path": path,
        "task": task,
        "formats": [form] if form in ("srt", "vtt") else [],
    }
    if fields.model not in STOCK_MODELS:
        values["model"] = fields.model
    if fields.prompt is not None:
        values["initial_prompt"] = fields.prompt
    if fields.temperature:
        values["temperature"] = [fields.temperature]
    return values


async def _answered(
    request: web.Request,
    task: OneTask,
    values: dict[str, Any],
    fields: TranslationFields,
    granularities: list[Any],
) -> web.StreamResponse:
    transcript = Transcript(request.app[BACKEND], await task.run(values), file_caller(request))
    form = fields.response_format
    if form in ("srt", "vtt"):
        return web.Response(
            body=await transcript.subtitles(form), content_type=_MEDIA_TYPES[form], charset="utf-8"
        )
    if form == "text":
        return web.Response(text=await transcript.text() + "\n", content_type=_MEDIA_TYPES[form])
    shown = (
        await transcript.verbose(granularities, values["task"])
        if form == "verbose_json"
        else {"text": await transcript.text()}
    )
    return web.Response(body=orjson.dumps(shown), content_type=JSON)


async def _streamed(request: web.Request, task: OneTask, values: dict[str, Any]) -> web.StreamResponse:
    settings = request.app[SETTINGS]
    await request.app[TASKS].submit(task.spec(values))

    async def write_all(response: web.StreamResponse) -> None:
        writer: EventWriter[dict[str, Any]] = EventWriter(
            response,
            lambda value: b"data: " + orjson.dumps(value) + b"\n\n",
            ping_seconds=settings.ping_seconds,
            stalled_seconds=settings.stalled_client_seconds,
        )
        async with aclosing(_transcribed(request, task.task_id)) as transcribed:
            await writer.run(transcribed, request.app[DRAINING])

    return await stream(request, write_all)


async def _transcribed(request: web.Request, task_id: str) -> AsyncGenerator[dict[str, Any]]:
    """Yield what clients read. Progress is told at most four times a second, so the last delta has what was not told before."""
    said = ""
    try:
        async with (
            request.app[TASKS].watching(viewer(request), task_id, 0) as watched,
            aclosing(watched.events()) as events,
        ):
            async for event in events:
                if delta := _delta(said, event):
                    said += delta
                    yield {"type": "transcript.text.delta", "delta": delta}
                if event.HasField("failed"):
                    raise failure(event.failed.error)
                if event.HasField("cancelled"):
                    raise Cancelled("the task was cancelled")
        task = completed(await request.app[TASKS].get(task_id))
        text = await Transcript(request.app[BACKEND], task, file_caller(request)).text()
    except YiVideoError as error:
        yield error_value(error)
        return
    if text.startswith(said) and text != said:
        yield {"type": "transcript.text.delta", "delta": text[len(said) :]}
    yield {"type": "transcript.text.done", "text": text}


def _delta(said: str, event: task_pb2.TaskEvent) -> str:
    """Return what an event adds to what was said."""
    if not event.HasField("progress"):
        return ""
    rows = from_struct(event.progress.data).get("segments") or []
    return joined([said, *(row["text"] for row in rows)])[len(said) :] if rows else ""


_FORM = Content("multipart/form-data", FORM_SCHEMA)
_TEXT = {"type": "string"}
_FAULTS = (404, 413, 422, 429, 504)
_ANSWERS = (Content(JSON, {"type": "object"}), *(Content(kind, _TEXT) for kind in _MEDIA_TYPES.values()))

ROUTES = (
    Route(method="POST", path="/v1/audio/transcriptions", handler=create_transcription, tag="audio",
          scope=Scope.TASKS, body=_FORM, answers={200: (*_ANSWERS, Content(EVENT_STREAM, _TEXT))}, faults=_FAULTS),
    Route(method="POST", path="/v1/audio/translations", handler=create_translation, tag="audio",
          scope=Scope.TASKS, body=_FORM, answers={200: _ANSWERS}, faults=_FAULTS),
)  # fmt: skip
