"""Recordings of voices to speak with: looked at before any engine gets them, since engines clone silence and crash on films."""

from __future__ import annotations

from pathlib import Path

from media.audio import AudioOptions, extract_audio
from media.faults import MediaFault
from media.probe import probe
from nodekit import TaskContext, TaskFailed
from services.tts.faults import FaultCode, TtsFault

SHORTEST_SECONDS = 1.0
"""Less says nothing of a voice; engines ask for three to ten seconds."""
_SAMPLE_RATE = 24_000
_SILENCE_DB = -60.0


async def usable(context: TaskContext, recording: Path, name: str, field: str) -> Path:
    """Return a recording that engines can use: as it is, or its sound alone where it is a film or has more than two channels.

    A file stays where it is if it can: speech servers may see it by its path. Raises TtsFault (REFERENCE_UNUSABLE) on `field` for
    what is no recording, too short, or silent.
    """
    sound = context.output_path(f"{name}.wav")
    try:
        made = await extract_audio(context, recording, sound, AudioOptions(sample_rate=_SAMPLE_RATE))
        facts = await probe(context, recording)
    except MediaFault as fault:
        if fault.retryable:  # the disk's fault, and not the recording's
            raise TaskFailed(fault.code.value, fault.message, retryable=True) from fault
        message = f"the recording of the voice cannot be used: {fault.message}"
        raise TtsFault(FaultCode.REFERENCE_UNUSABLE, message, field) from fault
    seconds = made.levels.frames / _SAMPLE_RATE
    if seconds < SHORTEST_SECONDS:
        message = (
            f"the recording of the voice lasts {seconds:.3g} s; at least {SHORTEST_SECONDS:g} s are needed"
        )
        raise TtsFault(FaultCode.REFERENCE_UNUSABLE, message, field)
    if made.levels.rms_db is None or made.levels.rms_db < _SILENCE_DB:
        raise TtsFault(FaultCode.REFERENCE_UNUSABLE, "the recording of the voice is silent", field)
    return sound if facts.videos or made.stream.channels > 2 else recording
