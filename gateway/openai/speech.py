"""POST /v1/audio/speech: text to speech by the task `indextts.generate_speech`."""

from __future__ import annotations

from functools import partial
from typing import Any

from aiohttp import web

from gateway.access import file_caller
from gateway.http.body import read_body
from gateway.http.errors import UNDER_WAY
from gateway.http.kernel_send import send_range
from gateway.http.model import NoQuery
from gateway.http.query import read_query
from gateway.http.route import Content, Route
from gateway.installation import BACKEND, SETTINGS
from gateway.openai.one_task import one_task
from gateway.openai.requests import SpeechBody
from gateway.settings import Scope
from gateway.use.transfer import Download, read_file
from runtime.errors import DataLoss, FieldViolation, NotFound
from runtime.structs import from_struct
from yivideo.file.v1 import file_pb2

TASK_NAME = "indextts.generate_speech"
NODE = "tts"
STOCK_MODELS = ("tts-1", "tts-1-hd", "gpt-4o-mini-tts")
"""OpenAI's own names: they stand for the node's own choice."""
ENGINES = ("kokoro", "hibari", "indextts2", "flite", "espeak-ng", "gptsovits", "cosyvoice")
STOCK_VOICES = frozenset(
    [
        "alloy",
        "ash",
        "ballad",
        "cedar",
        "coral",
        "echo",
        "fable",
        "marin",
        "nova",
        "onyx",
        "sage",
        "shimmer",
        "verse",
    ]
)
"""OpenAI's own names: they stand for the default voice of the text's language."""

PCM_RATE = 24_000
_MAX_PCM_BYTES = 256 * 1024 * 1024
_FORMATS = {"aac": "m4a", "pcm": "wav"}
"""How the node calls a format, where it calls it otherwise or has only one that holds it."""
_MEDIA_TYPES = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/mp4",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}


async def create_speech(request: web.Request) -> web.StreamResponse:
    """Speak a text; the answer is the audio. Leaving ends the work. 503 when no node speaks here."""
    read_query(request, NoQuery)
    body = await read_body(request, SpeechBody)
    values = _input(body)
    async with one_task(request, TASK_NAME, NODE) as task:
        done = await task.run(values)
        path = from_struct(done.output)["audio_path"]
        bucket = next((file.bucket for file in done.files if file.path == path), "")
        ask = file_pb2.DownloadRequest(bucket=bucket, path=path, caller=file_caller(request))
        kind = _MEDIA_TYPES[body.response_format]
        if body.response_format == "pcm":
            wave = await read_file(request.app[BACKEND], ask, _MAX_PCM_BYTES)
            return web.Response(body=samples(wave), content_type=kind)
        stalled = request.app[SETTINGS].stalled_client_seconds
        async with Download(request.app[BACKEND], ask, stalled) as audio:
            response = web.StreamResponse(headers={"Content-Type": kind})
            response.content_length = audio.header.length_bytes
            await response.prepare(request)
            request[UNDER_WAY] = response
            await audio.send(response.write, partial(send_range, request))
            await response.write_eof()
            return response


def _input(body: SpeechBody) -> dict[str, Any]:
    values: dict[str, Any] = {
        "text": body.input,
        "speed": body.speed,
        "sample_rate": PCM_RATE,
        "output_format": _FORMATS.get(body.response_format, body.response_format),
    }
    if body.model in ENGINES:
        values["engine"] = body.model
    elif body.model not in STOCK_MODELS:
        detail = "is neither an engine of the node nor one of OpenAI's names"
        raise NotFound(f"the model {body.model!r} {detail}", fields=[FieldViolation("/model", detail)])
    if body.voice not in STOCK_VOICES:
        values["voice"] = body.voice
    return values


def samples(wave: bytes) -> bytes:
    """Return the samples of a RIFF WAVE file: the content of its `data` chunk. Raises DataLoss."""
    at = 12
    while wave[:4] == b"RIFF" and at + 8 <= len(wave):
        size = int.from_bytes(wave[at + 4 : at + 8], "little")
        if wave[at : at + 4] == b"data":
            return wave[at + 8 : at + 8 + size]
        at += 8 + size + size % 2
    raise DataLoss("the speech is no WAVE file")


ROUTES = (
    Route(method="POST", path="/v1/audio/speech", handler=create_speech, tag="audio", scope=Scope.TASKS,
          body=SpeechBody, answers={200: Content("application/octet-stream")}, faults=(404, 413, 422, 429, 504)),
)  # fmt: skip
