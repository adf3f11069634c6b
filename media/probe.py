"""What ffprobe knows of a media file, as frozen facts: streams, sizes, turns, clocks, durations.

The clock of this node: all times are seconds on the container's own timeline, minus `clock_origin_seconds`.
The origin is zero for files that are authored from zero (MP4, Matroska: a stream that starts late there is
meant to be late) and the container's first timestamp for formats whose clock starts anywhere (MPEG-TS).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Self, TypeVar

import orjson

from media.faults import FaultCode, MediaFault
from media.process import Runner, run_ffprobe
from media.source import address, check_not_empty, lock_arguments

_FREE_CLOCKS = frozenset(
    (
        "mpegts",
        "mpeg",
        "mp3",
        "aac",
        "ac3",
        "eac3",
        "dts",
        "truehd",
        "ogg",
        "flv",
        "flac",
        "asf",
        "h264",
        "hevc",
    )
)
"""Demuxers whose first timestamp says nothing about when the content begins."""

_FIRST_PACKETS = 8
"""How many packets are looked at for what headers do not tell."""
UNKNOWN_CODEC = "unknown"
"""The codec of a stream that ffprobe has no name for."""

_INDEXED = frozenset(("mov", "mp4", "wav", "w64", "aiff", "caf", "mxf"))
"""Demuxers that know each packet, or the size of each sample, from the container's own tables."""


@dataclass(frozen=True)
class VideoStream:
    """A moving picture."""

    index: int
    """The stream's number in the file, audio and subtitles counted too."""
    codec: str
    width: int
    """Pixels of a coded row, before turning."""
    height: int
    sample_aspect_ratio: Fraction
    """Width of one coded pixel over its height; 1 where the file does not say."""
    rotation: int
    """Degrees by which a player turns the picture, as ffprobe gives it; one of -270 ... 270."""
    start_seconds: float | None
    duration_seconds: float | None
    frame_rate: Fraction | None
    """Average frames per second, if known."""
    encrypted: bool = False

    @property
    def is_turned(self) -> bool:
        """Whether width and height change places when the picture is shown."""
        return abs(self.rotation) % 180 == 90


@dataclass(frozen=True)
class AudioStream:
    """A sound track."""

    index: int
    codec: str
    sample_rate: int
    channels: int
    language: str | None
    start_seconds: float | None
    duration_seconds: float | None
    has_layout: bool = True
    """Whether the file says where the channels stand."""
    encrypted: bool = False


_S = TypeVar("_S", VideoStream, AudioStream)


@dataclass(frozen=True)
class Clock:
    """How ffmpeg must be told to treat a stream's timestamps, and what it then shows to filters."""

    zero_seconds: float
    """The container time that ffmpeg shows as 0."""
    raw: bool
    """Whether ffmpeg leaves timestamps as they are; the clock of its progress is then of no use."""

    def options(self) -> dict[str, None]:
        """Return ffmpeg's input options for it."""
        return {"copyts": None} if self.raw else {}


@dataclass(frozen=True)
class MediaFacts:
    """One media file."""

    name: str
    """The file's name without its folder, for messages."""
    format_name: str
    start_seconds: float | None
    """First timestamp of any stream."""
    duration_seconds: float | None
    """How long it lasts by its header; None where the header does not say."""
    videos: tuple[VideoStream, ...]
    """Moving pictures only: cover art and thumbnails are left out."""
    audios: tuple[AudioStream, ...]

    @property
    def first_seconds(self) -> float:
        """The first timestamp of all streams."""
        return self.start_seconds or 0.0

    @property
    def has_free_clock(self) -> bool:
        """Whether the container's first timestamp may be anything."""
        return not _FREE_CLOCKS.isdisjoint(self.format_name.split(","))

    def clock(self, stream: VideoStream | AudioStream) -> Clock:
        """Return how to read one stream alone.

        ffmpeg subtracts the file's first timestamp, but that of the stream itself in some formats with a free
        clock when the stream starts later than others: there it must keep its hands off.
        """
        starts_later = stream.start_seconds is not None and stream.start_seconds != self.first_seconds
        raw = self.has_free_clock and starts_later
        return Clock(0.0 if raw else self.first_seconds, raw)

    @property
    def has_index(self) -> bool:
        """Whether the container has an index of its packets, whose lengths are exact; others estimate."""
        return not _INDEXED.isdisjoint(self.format_name.split(","))

    @property
    def has_length(self) -> bool:
        """Whether the header's length is that of the content: Matroska and FLAC count it, others estimate it by their rate."""
        return self.has_index or not {"matroska", "flac"}.isdisjoint(self.format_name.split(","))

    @property
    def clock_origin_seconds(self) -> float:
        """The container time that is this node's time zero."""
        return self.first_seconds if self.has_free_clock else 0.0

    def begins_seconds(self, stream: VideoStream | AudioStream) -> float:
        """When a stream begins on the film's clock, by its header."""
        return (stream.start_seconds or 0.0) - self.clock_origin_seconds

    def video(self, stream_index: int | None = None) -> VideoStream:
        """Return the asked video stream, or the first that can be read.

        Raises:
            MediaFault: NO_VIDEO_STREAM, STREAM_NOT_FOUND, MEDIA_ENCRYPTED or CODEC_UNSUPPORTED.
        """
        if not self.videos:
            raise MediaFault(FaultCode.NO_VIDEO_STREAM, f"{self.name} has no video stream (a cover is none)")
        return _readable(self.videos, stream_index, "video", self.name)

    def audio(self, stream_index: int | None = None) -> AudioStream:
        """Return the asked audio stream, or the first that can be read.

        Raises:
            MediaFault: NO_AUDIO_STREAM, STREAM_NOT_FOUND, MEDIA_ENCRYPTED or CODEC_UNSUPPORTED.
        """
        if not self.audios:
            raise MediaFault(FaultCode.NO_AUDIO_STREAM, f"{self.name} has no audio stream")
        return _readable(self.audios, stream_index, "audio", self.name)

    def with_duration(self, seconds: float) -> Self:
        """Return the same facts with a duration that was found out otherwise."""
        return replace(self, duration_seconds=seconds)


def _readable(streams: tuple[_S, ...], index: int | None, kind: str, name: str) -> _S:
    """Return the asked stream, or the first that somebody can decode; refuse what nobody can."""
    readable = [stream for stream in streams if stream.codec != UNKNOWN_CODEC and not stream.encrypted]
    stream = readable[0] if index is None and readable else _pick(streams, index, kind, name)
    if stream.encrypted:
        raise MediaFault(
            FaultCode.MEDIA_ENCRYPTED, f"the {kind} stream {stream.index} of {name} is encrypted"
        )
    if stream.codec == UNKNOWN_CODEC:
        raise MediaFault(
            FaultCode.CODEC_UNSUPPORTED, f"no decoder here reads the {kind} stream {stream.index} of {name}"
        )
    return stream


def _pick(streams: tuple[_S, ...], index: int | None, kind: str, name: str) -> _S:
    if index is None:
        return streams[0]
    for stream in streams:
        if stream.index == index:
            return stream
    have = ", ".join(str(stream.index) for stream in streams)
    raise MediaFault(
        FaultCode.STREAM_NOT_FOUND, f"{name} has no {kind} stream {index}; its {kind} streams are: {have}"
    )


async def probe(runner: Runner, path: Path) -> MediaFacts:
    """Read the file's headers.

    Raises:
        MediaFault: MEDIA_EMPTY, MEDIA_UNREADABLE, MEDIA_IS_PICTURE or MEDIA_FORMAT_REFUSED.
    """
    check_not_empty(path)
    lines: list[str] = []
    await run_ffprobe(runner, probe_arguments(path), lines.append)
    return facts_from(orjson.loads("".join(lines)), path.name)


def probe_arguments(path: Path) -> list[str]:
    """Return what ffprobe is asked; `facts_from` reads its answer."""
    shown = ["-show_format", "-show_streams", "-show_packets", "-of", "json=compact=1"]
    shown += ["-show_entries", "packet=stream_index:packet_side_data=side_data_type"]
    shown += ["-read_intervals", f"%+#{_FIRST_PACKETS}"]
    return [*lock_arguments(), *shown, "-i", address(path)]


def facts_from(document: dict[str, Any], name: str) -> MediaFacts:
    """Turn ffprobe's JSON into facts."""
    container = document.get("format", {})
    streams = document.get("streams", [])
    sealed = _sealed(document.get("packets", []), len(streams))
    streams = [{**one, "sealed": one.get("index") in sealed} for one in streams]
    return MediaFacts(
        name=name,
        format_name=container.get("format_name", ""),
        start_seconds=to_seconds(container.get("start_time")),
        duration_seconds=to_seconds(container.get("duration")),
        videos=tuple(_video(item) for item in streams if _is_moving_picture(item)),
        audios=tuple(_audio(item) for item in streams if item.get("codec_type") == "audio"),
    )


def _is_moving_picture(stream: dict[str, Any]) -> bool:
    disposition = stream.get("disposition", {})
    is_still = disposition.get("attached_pic") or disposition.get("timed_thumbnails")
    return stream.get("codec_type") == "video" and not is_still and bool(stream.get("width"))


def _video(stream: dict[str, Any]) -> VideoStream:
    turns = [side["rotation"] for side in stream.get("side_data_list", []) if "rotation" in side]
    return VideoStream(
        index=stream["index"],
        codec=stream.get("codec_name", UNKNOWN_CODEC),
        width=stream["width"],
        height=stream["height"],
        sample_aspect_ratio=_ratio(stream.get("sample_aspect_ratio"), ":") or Fraction(1),
        rotation=int(turns[0]) if turns else 0,
        start_seconds=to_seconds(stream.get("start_time")),
        duration_seconds=to_seconds(stream.get("duration")),
        frame_rate=_ratio(stream.get("avg_frame_rate"), "/") or _ratio(stream.get("r_frame_rate"), "/"),
        encrypted=_is_encrypted(stream),
    )


def _audio(stream: dict[str, Any]) -> AudioStream:
    return AudioStream(
        index=stream["index"],
        codec=stream.get("codec_name", UNKNOWN_CODEC),
        sample_rate=int(stream.get("sample_rate", 0)),
        channels=stream.get("channels", 0),
        language=stream.get("tags", {}).get("language"),
        start_seconds=to_seconds(stream.get("start_time")),
        duration_seconds=to_seconds(stream.get("duration")),
        has_layout="channel_layout" in stream and stream["channel_layout"] != "unknown",
        encrypted=_is_encrypted(stream),
    )


def _sealed(packets: list[dict[str, Any]], streams: int) -> set[int]:
    """Return the streams whose first packets are encrypted; of streams not seen yet, where another one is, that too."""
    seen = {packet["stream_index"] for packet in packets if "stream_index" in packet}
    sealed = {
        packet["stream_index"]
        for packet in packets
        if any(side.get("side_data_type") == "Encryption info" for side in packet.get("side_data_list", ()))
    }
    return sealed | (set(range(streams)) - seen) if sealed else set()


def _is_encrypted(stream: dict[str, Any]) -> bool:
    """Whether MP4's sample entry, Matroska's track or the first packets say so."""
    if stream.get("sealed"):
        return True
    return stream.get("codec_tag_string") in ("encv", "enca") or "enc_key_id" in stream.get("tags", {})


def to_seconds(value: Any) -> float | None:
    """Return a number that ffprobe has printed; None for `N/A` and for what is absent."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _ratio(value: str | None, separator: str) -> Fraction | None:
    """Return `2:3` or `30000/1001` as a fraction; None for absent, zero or broken ones."""
    try:
        numerator, denominator = (value or "").split(separator)
        return Fraction(int(numerator), int(denominator)) or None
    except (ValueError, ZeroDivisionError):
        return None
