"""Sound: a recording as 16 kHz samples in a file, of which any stretch can be read; memory does not grow with its length."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from media.audio import AudioOptions, extract_audio
from media.faults import FaultCode, MediaFault
from media.probe import probe
from media.process import Runner

if TYPE_CHECKING:
    from numpy.typing import NDArray

RATE = 16_000
MAX_CHANNELS = 8
Samples: TypeAlias = "NDArray[np.float32]"


@dataclass(frozen=True)
class Sound:
    """Interleaved little-endian 16-bit samples at 16 kHz."""

    path: Path
    channels: int = 1
    warnings: tuple[str, ...] = ()
    """What people should know of the recording: that it is cut off, or damaged."""

    @property
    def samples(self) -> int:
        """Samples of one channel."""
        return self.path.stat().st_size // (2 * self.channels)

    @property
    def seconds(self) -> float:
        """Length."""
        return self.samples / RATE

    def read(self, start: float, end: float, channel: int = 0) -> Samples:
        """Return a stretch of one channel, −1 to 1; shorter where the recording ends."""
        first, last = (max(0, round(instant * RATE)) for instant in (start, end))
        count = max(0, last - first) * self.channels
        raw = np.fromfile(self.path, "<i2", count, offset=first * 2 * self.channels)
        whole = raw[: len(raw) // self.channels * self.channels]
        return whole.reshape(-1, self.channels)[:, channel].astype(np.float32) / 32768.0

    def blocks(self, start: float, end: float, channel: int = 0, seconds: float = 30.0) -> Iterator[Samples]:
        """Give a stretch in blocks of so many seconds, the last one shorter."""
        while start < end:
            yield self.read(start, min(end, start + seconds), channel)
            start += seconds


async def decode(
    runner: Runner, recording: Path, target: Path, *, stream: int = 0, apart: bool = False
) -> Sound:
    """Decode the audio stream number `stream` (from 0) of any media file, in step with its clock.

    Channels are mixed to one, or kept `apart`, at most 8. A stream that begins late gets that much silence in front, holes are
    filled. A stream without a single sample gives a sound of length 0.

    Raises:
        MediaFault: MEDIA_EMPTY, MEDIA_UNREADABLE, MEDIA_FORMAT_REFUSED, NO_AUDIO_STREAM, STREAM_NOT_FOUND, DISK_FULL.
    """
    facts = await probe(runner, recording)
    facts.audio()
    if stream >= len(facts.audios):
        message = f"{facts.name} has {len(facts.audios)} audio streams; there is no number {stream}"
        raise MediaFault(FaultCode.STREAM_NOT_FOUND, message)
    track = facts.audios[stream]
    kept = max(1, min(track.channels, MAX_CHANNELS)) if apart else 1
    options = AudioOptions(RATE, kept, "s16le", track.index, apart=apart)
    warnings: tuple[str, ...] = ()
    try:
        warnings = (await extract_audio(runner, recording, target, options)).warnings
    except MediaFault as fault:
        if fault.code is not FaultCode.OUTPUT_EMPTY:
            raise
        await asyncio.to_thread(target.touch)
    return Sound(target, kept, warnings)


def as_int16(samples: Samples) -> Any:
    """Return samples as the 16-bit integers that older engines take."""
    return (np.clip(samples, -1, 1) * 32767).astype("<i2")
