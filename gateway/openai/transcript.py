"""A finished transcript, and the forms in which OpenAI's clients ask for it."""

from __future__ import annotations

from typing import Any

import orjson

from gateway.clients.backend import Backend
from gateway.use.transfer import read_file
from runtime.structs import from_struct
from yivideo.file.v1 import file_pb2
from yivideo.task.v1 import task_pb2

_MAX_BYTES = 128 * 1024 * 1024
"""Of a transcript's JSON, which is held whole: days of speech."""


class Transcript:
    """What the task has given."""

    def __init__(self, backend: Backend, task: task_pb2.Task, caller: file_pb2.Caller) -> None:
        self._backend = backend
        self._caller = caller
        self._task = task
        self.output: dict[str, Any] = from_struct(task.output)

    async def segments(self) -> list[dict[str, Any]]:
        """Return the segments `{id, start, end, text, words, …}`, times in seconds."""
        content = orjson.loads(await self._read(self.output["segments_file"]))
        found: list[dict[str, Any]] = content["segments"]
        return found

    async def text(self) -> str:
        """Return all that was said, on one line."""
        return joined(row["text"] for row in await self.segments())

    async def subtitles(self, form: str) -> bytes:
        """Return the SRT or VTT that the task has written."""
        return await self._read(self.output["transcript_files"][form])

    async def verbose(self, wanted: list[str], task: str) -> dict[str, Any]:
        """Return `verbose_json`: text, language, duration, and segments or words with their times."""
        rows = await self.segments()
        shown: dict[str, Any] = {
            "task": task,
            "language": self.output["language"],
            "duration": self.output["audio_duration"],
            "text": joined(row["text"] for row in rows),
        }
        if not wanted or "segment" in wanted:
            shown["segments"] = [_segment(number, row) for number, row in enumerate(rows)]
        if "word" in wanted:
            shown["words"] = [
                {"word": word["word"].strip(), "start": word["start"], "end": word["end"]}
                for row in rows
                for word in row.get("words") or ()
            ]
        return shown

    async def _read(self, path: str) -> bytes:
        file = next((one for one in self._task.files if one.path == path), None)
        bucket = file.bucket if file is not None else ""
        request = file_pb2.DownloadRequest(bucket=bucket, path=path, caller=self._caller)
        return await read_file(self._backend, request, _MAX_BYTES)


def joined(texts: Any) -> str:
    """Join the texts of segments. Scripts without spaces have none at their ends, so a space stands only between words."""
    whole = ""
    for text in (one.strip() for one in texts):
        if whole and text and whole[-1].isascii() | text[0].isascii():
            whole += " "
        whole += text
    return whole


def _segment(number: int, row: dict[str, Any]) -> dict[str, Any]:
    figures = ("temperature", "avg_logprob", "compression_ratio", "no_speech_prob")
    return {
        "id": number,
        "seek": row.get("seek", 0),
        "start": row["start"],
        "end": row["end"],
        "text": row["text"],
        "tokens": row.get("tokens") or [],
        **{name: row.get(name, 0.0) for name in figures},
    }
