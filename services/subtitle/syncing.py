"""The speech that cues are to be moved to, out of any film, and how they were moved, as the task gives it."""

from __future__ import annotations

from media.audio import AudioOptions, extract_audio
from media.faults import MediaFault
from nodekit import TaskContext, TaskFailed
from services.subtitle.inputs import FixSubtitlesInput
from services.subtitle.outputs import SyncPiece, SyncReport
from services.subtitle.speech import Speech
from subtitles.sync import Sync

_MOST_PIECES = 1000


async def fetch_speech(request: FixSubtitlesInput, context: TaskContext) -> Speech | None:
    """Return the sound of the film that is named, in step with its clock; None when none is. Raises TaskFailed for bad media."""
    if request.sync_to is None:
        return None
    film = await context.fetch(request.sync_to)
    sound = context.output_path("speech.s16")
    try:
        await extract_audio(context, film, sound, AudioOptions(codec="s16le"))
    except MediaFault as fault:
        raise TaskFailed(fault.code.value, fault.message, fault.retryable, "/sync_to") from None
    return Speech(sound, request.sync_reach, request.sync_cuts, request.sync_rates)


def to_report(sync: Sync | None) -> SyncReport | None:
    """Return how cues were moved."""
    if sync is None:
        return None
    pieces = [
        SyncPiece(
            first=piece.first + 1,
            last=piece.last,
            rate=round(piece.retiming.rate, 6),
            offset_seconds=piece.retiming.offset_seconds,
        )
        for piece in sync.pieces[:_MOST_PIECES]
    ]
    return SyncReport(moved=sync.moved, fit=sync.fit, pieces=pieces if sync.moved else [])
