"""Sound: a recording as 16 kHz samples in a file, of which any stretch can be read; memory does not grow with its length."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from services.asr.faults import FaultCode, SpeechFault

RATE = 16_000
MAX_CHANNELS = 8
Samples = NDArray[np.float32]

_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,amr,amrnb,amrwb,asf,asf_o,avi,flv,mpeg,mpegts,mpegvideo,mxf,nut,ogg,rm,aac,ac3,adx,"
    "aiff,ape,au,caf,dts,eac3,flac,g722,g726,gsm,loas,mp3,mpc,mpc8,oma,sox,tak,truehd,tta,voc,w64,wav,wv,xwma"
)
"""Demuxers that read only the file they are given: playlists and scripts could name others."""
_LOCKS = ("-protocol_whitelist", "file", "-format_whitelist", _FORMATS)
_SYMPTOMS = (
    ("matches no streams", FaultCode.NO_AUDIO_STREAM, "there is no such audio stream in the file"),
    ("does not contain any stream", FaultCode.NO_AUDIO_STREAM, "the file has no audio stream"),
    ("No space left on device", FaultCode.DISK_FULL, "the scratch disk is full"),
)
_NOISE = re.compile(r"(?:file:)?/(?:[^\s/':,\]]+/)+| @ 0x[0-9a-f]+|'[^']*,[^']*,[^']*'")


class Completed(Protocol):
    """How a child process ended."""

    @property
    def returncode(self) -> int:
        """The exit status; negative is the signal that ended it."""

    @property
    def stderr_tail(self) -> str:
        """The last part of what it wrote to stderr."""


class Runner(Protocol):
    """What starts programs and ends them when the task ends."""

    async def run(self, argv: Sequence[str], *, on_line: Callable[[str], None] | None = None) -> Completed:
        """Run a program to its end; `on_line` gets every line of its stdout."""


@dataclass(frozen=True)
class Sound:
    """Interleaved little-endian 16-bit samples at 16 kHz."""

    path: Path
    channels: int = 1

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


async def decode(runner: Runner, media: Path, target: Path, *, stream: int = 0, apart: bool = False) -> Sound:
    """Decode the audio stream number `stream` (from 0) of any media file, in step with its clock.

    Channels are mixed to one, or kept `apart`, at most 8. A stream that begins late gets that much silence in front, holes are
    filled. A stream without a single sample gives a sound of length 0.

    Raises:
        SpeechFault: MEDIA_EMPTY, MEDIA_UNREADABLE, NO_AUDIO_STREAM, STREAM_NOT_FOUND, DISK_FULL.
    """
    if (await asyncio.to_thread(media.stat)).st_size == 0:
        raise SpeechFault(FaultCode.MEDIA_EMPTY, f"the file {media.name} is empty (0 bytes)", "/audio_path")
    channels = await _channels(runner, media, stream)
    kept = min(channels, MAX_CHANNELS) if apart else 1
    # A layout by count keeps channels where they are; `-ac` alone mixes them.
    keep = f",aformat=channel_layouts={kept}c" if apart and channels > 2 else ""
    completed = await runner.run(
        [
            *("ffmpeg", "-nostdin", "-hide_banner", "-v", "error", "-y", *_LOCKS, "-vn", "-sn", "-dn"),
            *("-i", _address(media), "-map", f"0:a:{stream}"),
            *("-af", f"aresample={RATE}:async=1:first_pts=0{keep}", "-ac", str(kept)),
            *("-c:a", "pcm_s16le", "-f", "s16le", _address(target)),
        ]
    )
    if completed.returncode != 0:
        raise _fault(media, completed)
    await asyncio.to_thread(target.touch)  # ffmpeg writes no file when there is not one sample
    return Sound(target, kept)


async def _channels(runner: Runner, media: Path, stream: int) -> int:
    found: list[int] = []
    completed = await runner.run(
        [
            *("ffprobe", "-hide_banner", "-v", "error", *_LOCKS, "-select_streams", "a"),
            *("-show_entries", "stream=channels", "-of", "csv=p=0", _address(media)),
        ],
        on_line=lambda line: found.append(int(line.strip(" ,") or 0)) if line.strip(" ,").isdigit() else None,
    )
    if completed.returncode != 0:
        raise _fault(media, completed)
    if not found:
        raise SpeechFault(FaultCode.NO_AUDIO_STREAM, f"{media.name} has no audio stream", "/audio_path")
    if stream >= len(found):
        message = f"{media.name} has {len(found)} audio streams; there is no number {stream}"
        raise SpeechFault(FaultCode.STREAM_NOT_FOUND, message, "/audio_stream")
    return max(1, found[stream])


def _address(path: Path) -> str:
    return f"file:{path.absolute()}"


def _fault(media: Path, completed: Completed) -> SpeechFault:
    lines = [line.strip() for line in completed.stderr_tail.splitlines() if line.strip()]
    words = _NOISE.sub("", "; ".join(lines[-3:])) or "no message"
    for symptom, code, meaning in _SYMPTOMS:
        if symptom in completed.stderr_tail:
            return SpeechFault(code, f"{media.name}: {meaning} ({words})", "/audio_path")
    return SpeechFault(FaultCode.MEDIA_UNREADABLE, f"{media.name} cannot be decoded: {words}", "/audio_path")


def as_int16(samples: Samples) -> Any:
    """Return samples as the 16-bit integers that older engines take."""
    return (np.clip(samples, -1, 1) * 32767).astype("<i2")
