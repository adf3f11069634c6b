"""What a task's input names, fetched: a transcript or subtitles from a file or from the request itself."""

from __future__ import annotations

from pathlib import PurePosixPath

from nodekit import MediaKind, TaskContext, TaskFailed
from services.subtitle.faults import FaultCode
from services.subtitle.inputs import TranscriptInput
from services.subtitle.sources import Source


async def fetch_file(
    ref: str | None, field: str, context: TaskContext, encoding: str | None = None
) -> Source:
    """Return the source that a field names. Raises TaskFailed (NO_DATA_SOURCE) when it names none."""
    if ref is None:
        message = f"give {field[1:]}, or the data itself"
        raise TaskFailed(FaultCode.NO_DATA_SOURCE, message, field=field)
    return Source(field, path=await context.fetch(ref, kind=MediaKind.SUBTITLE), encoding=encoding)


async def fetch_transcript(request: TranscriptInput, context: TaskContext) -> Source:
    """Return the transcript, inline or from its file. Raises TaskFailed (NO_DATA_SOURCE)."""
    if request.segments_data is not None:
        return Source("/segments_data", data=request.segments_data)
    return await fetch_file(request.segments_file, "/segments_file", context)


_MOST_NAME_BYTES = 150
"""Of a name that an ending is put behind: file systems hold 255 in all."""


def base_of(name: str) -> str:
    """Return a name, without its folder, that any ending may follow."""
    return PurePosixPath(name).name.encode()[:_MOST_NAME_BYTES].decode(errors="ignore")


def stem_of(source: Source, default: str) -> str:
    """Return the name that outputs are called after."""
    return base_of(PurePosixPath(source.name).stem) or default if source.path is not None else default
