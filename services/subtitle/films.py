"""Subtitles in films by real ffmpeg: listed, taken out, put in as tracks, drawn into the picture. Knows no task.

Times of cues are on the film's clock as `media.probe` tells it; where ffmpeg would begin a file at zero that does not, it is told.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from media.faults import FaultCode as MediaCode
from media.faults import MediaFault
from media.languages import language_code
from media.packets import probe_timed
from media.probe import MediaFacts, probe
from media.process import Progress, Runner, run_ffmpeg, run_ffprobe
from media.source import address, check_not_empty, lock_arguments
from services.subtitle.faults import FaultCode, SubtitleFault
from subtitles.cue import Cue
from subtitles.writing import AssStyle, to_ass

_MP4_SOUND = frozenset({"aac", "mp3", "mp2", "ac3", "eac3", "dts", "alac", "opus", "vorbis"})
"""Sound that ffmpeg writes into MP4 as it is; other sound becomes AAC there."""
_REFUSED_CODEC = re.compile(
    r"Could not find tag for codec (\w+) |\[mp4[^\]]*\] (\w+) in MP4 support is experimental"
)
_TEXT_CODECS = frozenset(
    {"subrip", "srt", "ass", "ssa", "mov_text", "webvtt", "text", "subviewer", "microdvd", "sami"}
)


@dataclass(frozen=True)
class Track:
    """A track of subtitles in a film."""

    index: int
    codec: str
    language: str
    title: str
    default: bool
    forced: bool

    @property
    def is_text(self) -> bool:
        """Whether it is text and not pictures."""
        return self.codec in _TEXT_CODECS


@dataclass(frozen=True)
class NewTrack:
    """A track to be put in: a file that ffmpeg reads, and what players are told of it."""

    path: Path
    language: str
    title: str
    default: bool
    forced: bool


async def find_tracks(runner: Runner, film: Path) -> list[Track]:
    """Return a film's tracks of subtitles, in order. Raises MediaFault."""
    check_not_empty(film)
    lines: list[str] = []
    entries = "stream=index,codec_name:stream_tags=language,title:stream_disposition=default,forced"
    wanted = ["-select_streams", "s", "-show_entries", entries, "-of", "json"]
    await run_ffprobe(runner, [*lock_arguments(), *wanted, "-i", address(film)], lines.append)
    return [_track(stream) for stream in orjson.loads("".join(lines) or "{}").get("streams", [])]


def _track(stream: dict[str, Any]) -> Track:
    tags = {key.lower(): str(value) for key, value in stream.get("tags", {}).items()}
    shown = stream.get("disposition", {})
    language = tags.get("language", "")
    return Track(
        int(stream["index"]),
        str(stream.get("codec_name", "")),
        "" if language == "und" else language,
        tags.get("title", ""),
        bool(shown.get("default")),
        bool(shown.get("forced")),
    )


async def take_out(runner: Runner, film: Path, tracks: Sequence[Track], folder: Path) -> dict[int, Path]:
    """Write text tracks as ASS, which keeps what each has, in one run; returns files by the stream's number. Raises MediaFault."""
    targets = {track.index: folder / f"track-{track.index}.ass" for track in tracks}
    if not targets:
        return {}
    outputs: list[str] = []
    for index, target in targets.items():
        outputs += ["-map", f"0:{index}", "-c:s", "ass", "-f", "ass", address(target)]
    # A container whose clock begins late has its subtitles on that clock: they stay there.
    await run_ffmpeg(runner, [*lock_arguments(), "-copyts", "-i", address(film), *outputs])
    return targets


async def put_in(
    runner: Runner,
    film: Path,
    new: Sequence[NewTrack],
    target: Path,
    *,
    keep_existing: bool,
    progress: Progress | None = None,
) -> int:
    """Write the film with tracks of subtitles behind its own; everything is copied. Returns how many it has.

    Raises MediaFault, and SubtitleFault (CONTAINER_UNFIT).
    """
    container = target.suffix.lstrip(".")
    facts = await probe_timed(runner, film)
    old = [track for track in await find_tracks(runner, film) if track.is_text] if keep_existing else []
    inputs, maps, told = [*lock_arguments(), "-i", address(film)], ["-map", "0:v?", "-map", "0:a?"], []
    for track in old:
        maps += ["-map", f"0:{track.index}"]
    for number, one in enumerate(new, 1):
        # ffmpeg begins the film at zero: cues move by as much as its pictures do.
        inputs += ["-itsoffset", f"{-_late(facts):.6f}", "-f", "ass", "-i", address(one.path)]
        maps += ["-map", f"{number}:0"]
        place = len(old) + number - 1
        flags = "+".join(name for name, on in (("default", one.default), ("forced", one.forced)) if on) or "0"
        told += [f"-metadata:s:s:{place}", f"language={language_code(one.language, container)}"]
        told += [f"-metadata:s:s:{place}", f"title={one.title}", f"-disposition:s:{place}", flags]
    if any(one.default for one in new):
        told += [word for place in range(len(old)) for word in (f"-disposition:s:{place}", "0")]
    codec = "mov_text" if container == "mp4" else "ass"
    muxer = ["-movflags", "+faststart", "-f", "mp4"] if container == "mp4" else ["-f", "matroska"]
    arguments = [
        *inputs,
        *maps,
        "-c",
        "copy",
        "-c:s",
        codec,
        *told,
        "-max_interleave_delta",
        "0",
        *muxer,
        address(target),
    ]
    try:
        await run_ffmpeg(runner, arguments, progress=progress, span_seconds=lambda: facts.duration_seconds)
    except MediaFault as fault:
        if refused := _REFUSED_CODEC.search(fault.message):
            message = f"{container} cannot hold the film's {refused[1] or refused[2]}; mkv can"
            raise SubtitleFault(FaultCode.CONTAINER_UNFIT, message, "/container") from None
        raise
    return len(old) + len(new)


async def burn(
    runner: Runner,
    film: Path,
    subtitle: Path,
    target: Path,
    *,
    crf: int,
    preset: str,
    cover: str = "",
    progress: Progress | None = None,
) -> float:
    """Write the film as MP4 with an ASS file drawn into its picture; returns its length in seconds. Raises MediaFault.

    `cover` are filters that come before, for the picture as viewers see it and on the film's clock.
    """
    facts = await probe_timed(runner, film)
    video = facts.video()
    late = _late(facts)
    # The file is named relative to its folder: a filter's argument has its own rules for colons, quotes and brackets.
    draw = ",".join(filter(None, (cover, f"ass=filename={subtitle.name}")))
    graph = f"setpts=PTS+{late:.6f}/TB,{draw},setpts=PTS-{late:.6f}/TB" if late else draw
    arguments = [
        *(*lock_arguments(), "-i", address(film), "-map", f"0:{video.index}", "-map", "0:a?"),
        *("-vf", f"{graph},format=yuv420p", "-fps_mode", "passthrough", "-c:v", "libx264"),
        *("-crf", str(crf), "-preset", preset, *_sound(facts), "-sn", "-dn"),
        *("-movflags", "+faststart", "-f", "mp4", address(target)),
    ]
    ran = await run_ffmpeg(
        runner, arguments, progress=progress, span_seconds=lambda: facts.duration_seconds, cwd=subtitle.parent
    )
    if ran.clock_seconds <= 0:
        raise MediaFault(MediaCode.OUTPUT_EMPTY, f"{film.name} gave no picture")
    # ffmpeg's own count stops at the last picture that its encoder has given, some pictures before the end.
    made = await probe(runner, target)
    return made.duration_seconds or ran.clock_seconds


def _sound(facts: MediaFacts) -> list[str]:
    """Return how each track of sound is written into MP4: as it is, where that can be."""
    how = ["-c:a", "copy"]
    for place, audio in enumerate(facts.audios):
        if audio.codec not in _MP4_SOUND:
            how += [f"-c:a:{place}", "aac", f"-b:a:{place}", "192k"]
    return how


def _late(facts: MediaFacts) -> float:
    """Return by how much a film begins after the zero of its clock: by that ffmpeg moves it forward."""
    return max(0.0, facts.first_seconds - facts.clock_origin_seconds)


def write_ass(cues: Sequence[Cue], target: Path, style: AssStyle) -> None:
    """Write cues as ASS in UTF-8; runs in a worker process."""
    target.write_text(to_ass(cues, style), encoding="utf-8")


def shown_size(facts: MediaFacts) -> tuple[int, int]:
    """Return width and height of the picture, turned upright, in the pixels that ffmpeg's filters see."""
    video = facts.video()
    return (video.height, video.width) if video.is_turned else (video.width, video.height)


def style_for(facts: MediaFacts, font: str, size_percent: float, margin_percent: float) -> AssStyle:
    """Return a style in pixels of the picture as viewers see it."""
    video = facts.video()
    wide, high = shown_size(facts)
    scale = max(1, high) / 100
    return replace(
        AssStyle(font=font),
        size=max(1, round(size_percent * scale)),
        margin=round(margin_percent * scale),
        width=round(wide * float(video.sample_aspect_ratio)) if not video.is_turned else wide,
        height=high,
        outline=max(1.0, round(high / 360, 1)),
    )
