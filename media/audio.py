"""Takes one audio track out of a media file, in step with the film's clock.

Subtitles, speaker turns and words are timed on what this file writes, so a track that starts late in the
film is padded with silence (or its offset is reported), and holes in it are filled, never closed up.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import ffmpeg

from media.faults import FaultCode, MediaFault
from media.graph import open_source
from media.packets import probe_timed
from media.pcm import Levels, follow_levels, wave_data_offset
from media.probe import AudioStream, Clock, MediaFacts
from media.process import Progress, Runner, run_ffmpeg
from media.promise import cut_off
from media.sound_job import SoundJob, SoundReport
from media.source import check_not_empty
from media.worker import absolute, run_worker

_SEEK_MARGIN_SECONDS = 2.0
"""How far before the asked start decoding begins: more than any codec needs to settle."""

_ROUNDING_SECONDS = 0.01
"""More than any container rounds a timestamp by; what is too much is cut off by counting samples."""

_SELF_DESCRIBING = frozenset(
    ("ac3", "eac3", "dts", "truehd", "mlp", "mp1", "mp2", "mp3", "aac_latm", "adpcm_swf", "wmapro")
)
"""Codecs whose every frame says its own rate and layout, which may be others than those of the frame before."""
_DAMAGE_SIGNS = ("Error while decoding stream", "Error submitting packet to decoder")
"""What ffmpeg says (5 and 7) of a packet that gave no sound."""
_SOUND_PROGRAM = Path(__file__).with_name("sound_worker.py")


@dataclass(frozen=True)
class AudioCodec:
    """One way to write sound."""

    encoder: str
    suffix: str
    muxer: str
    sample_rates: frozenset[int] | None = None
    """The rates that it can hold; None = any."""


_MP3_RATES = frozenset((8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000))
_AAC = AudioCodec("aac", ".m4a", "ipod", _MP3_RATES | {64_000, 88_200, 96_000})

CODECS: dict[str, AudioCodec] = {
    "pcm_s16le": AudioCodec("pcm_s16le", ".wav", "wav"),
    "flac": AudioCodec("flac", ".flac", "flac"),
    "aac": _AAC,
    "mp3": AudioCodec("libmp3lame", ".mp3", "mp3", _MP3_RATES),
    "s16le": AudioCodec("pcm_s16le", ".s16", "s16le"),
}
"""What `AudioOptions.codec` may be; `s16le` is samples without a header, for other engine modules."""


@dataclass(frozen=True)
class AudioOptions:
    """What to take and how to write it; times in seconds on the film's clock."""

    sample_rate: int = 16_000
    channels: int = 1
    codec: str = "pcm_s16le"
    stream_index: int | None = None
    start_seconds: float | None = None
    end_seconds: float | None = None
    keep_offset: bool = True
    apart: bool = False
    """Whether `channels` are the track's own first ones, each as it is; else what there is is mixed to so many."""

    @property
    def is_whole(self) -> bool:
        """Whether all of the track is asked for."""
        return self.start_seconds is None and self.end_seconds is None


@dataclass(frozen=True)
class _Heard:
    """What a decode came to."""

    levels: Levels
    damaged: bool = False
    breaks: int = 0
    end_seconds: float | None = None
    """Where the track ends, on the film's clock, when all of it was looked at."""
    first_seconds: float | None = None
    """Where its first sample is, when that was looked at."""


@dataclass(frozen=True)
class ExtractedAudio:
    """What was written."""

    stream: AudioStream
    levels: Levels
    offset_seconds: float
    """By how much the track starts after the film (or after the asked start)."""
    warnings: tuple[str, ...]


async def extract_audio(
    runner: Runner, video: Path, target: Path, options: AudioOptions, progress: Progress | None = None
) -> ExtractedAudio:
    """Write the asked track to `target`.

    ffprobe and ffmpeg start together, since in nearly every film something starts at time zero; where the probe
    finds otherwise, or a fault, the decoder's first work is thrown away.

    Raises:
        MediaFault: unreadable media, no such track, a span outside the media, or nothing written.
    """
    check_not_empty(video)
    known: list[MediaFacts] = []
    ahead: asyncio.Task[_Heard] | None = None
    if options.is_whole:
        ahead = asyncio.create_task(_decode(runner, video, target, options, known, progress))
    try:
        facts = await probe_timed(runner, video)
        stream = facts.audio(options.stream_index)
        _check_span(facts, options)
        known.append(facts)
        is_first = stream == facts.audios[0]
        if needs_care(facts, stream) or (options.apart and stream.channels > 2):
            await _drop(ahead)
            heard = await _decode_carefully(runner, video, target, options, facts, progress)
        elif (
            ahead is not None
            and is_first
            and facts.clock(stream) == Clock(facts.clock_origin_seconds, raw=False)
        ):
            heard = await ahead
        else:
            await _drop(ahead)
            heard = await _decode(runner, video, target, options, known, progress)
    except BaseException:
        await _drop(ahead)
        raise
    if heard.levels.frames == 0:
        raise _nothing(facts, stream, options, heard)
    return ExtractedAudio(
        stream=stream,
        levels=heard.levels,
        offset_seconds=_offset(facts, stream, options, heard),
        warnings=await _warnings(runner, video, facts, stream, options, heard),
    )


def needs_care(facts: MediaFacts, stream: AudioStream) -> bool:
    """Whether each frame must be looked at: clocks that start anywhere may break, self-describing frames may change midway."""
    speaks_for_itself = stream.codec in _SELF_DESCRIBING
    return facts.has_free_clock or speaks_for_itself or (stream.channels > 2 and not stream.has_layout)


async def _drop(task: asyncio.Task[Any] | None) -> None:
    """End work that was begun too early; what it did or suffered is of no interest."""
    if task is not None:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, MediaFault):
            await task


async def _decode(
    runner: Runner,
    video: Path,
    target: Path,
    options: AudioOptions,
    known: list[MediaFacts],
    progress: Progress | None,
) -> _Heard:
    """Run ffmpeg once and measure what it writes; `known` may gain its facts meanwhile, which gives progress a span."""
    codec = CODECS[options.codec]
    measured = target if codec.encoder == "pcm_s16le" else _plain(target)
    measured.unlink(missing_ok=True)
    graph = audio_graph(video, target, options, known[0] if known else None)
    writing = asyncio.create_task(
        run_ffmpeg(
            runner,
            ffmpeg.compile(graph)[1:],
            progress=progress,
            span_seconds=lambda: _span(known[0], options) if known else None,
        )
    )
    data_offset = wave_data_offset if codec.muxer == "wav" else lambda _: 0
    try:
        levels = await follow_levels(measured, options.channels, writing, data_offset)
        ran = await writing
    finally:
        await _drop(writing)
        if measured != target:
            measured.unlink(missing_ok=True)
    return _Heard(levels, damaged=any(sign in ran.stderr_tail for sign in _DAMAGE_SIGNS))


async def _decode_carefully(
    runner: Runner,
    video: Path,
    target: Path,
    options: AudioOptions,
    facts: MediaFacts,
    progress: Progress | None,
) -> _Heard:
    """Decode frame by frame, in a process of ours; ffmpeg then encodes what is to be encoded."""
    codec = CODECS[options.codec]
    measured = target if codec.encoder == "pcm_s16le" else _plain(target)
    measured.unlink(missing_ok=True)
    job = SoundJob(
        source=absolute(video),
        target=absolute(measured),
        stream_index=facts.audio(options.stream_index).index,
        origin_seconds=facts.clock_origin_seconds,
        has_free_clock=facts.has_free_clock,
        sample_rate=options.sample_rate,
        channels=options.channels,
        wave=codec.muxer == "wav",
        start_seconds=options.start_seconds or 0.0,
        end_seconds=options.end_seconds,
        keep_offset=options.keep_offset,
        apart=options.apart,
        expected_seconds=_span(facts, options),
    )
    working = asyncio.create_task(run_worker(runner, _SOUND_PROGRAM, asdict(job), progress))
    data_offset = wave_data_offset if job.wave else lambda _: 0
    try:
        levels = await follow_levels(measured, options.channels, working, data_offset)
        report = SoundReport(**await working)
        if measured != target and levels.frames:
            await _encode(runner, measured, target, options)
    finally:
        await _drop(working)
        if measured != target:
            measured.unlink(missing_ok=True)
    return _Heard(
        levels, report.refused > 0, report.breaks, report.end_seconds, first_seconds=report.first_seconds
    )


async def _encode(runner: Runner, plain: Path, target: Path, options: AudioOptions) -> None:
    codec = CODECS[options.codec]
    given = ["-f", "s16le", "-ar", str(options.sample_rate), "-ac", str(options.channels), "-i", str(plain)]
    await run_ffmpeg(
        runner, [*given, "-c:a", codec.encoder, "-f", codec.muxer, "-map_metadata", "-1", str(target)]
    )


def audio_graph(video: Path, target: Path, options: AudioOptions, facts: MediaFacts | None) -> Any:
    """Compose the run: seek, put on the film's clock, resample with holes filled, encode.

    A codec other than PCM gets a second output, `<target>.s16`, that is only there to be measured.
    """
    origin = facts.clock_origin_seconds if facts else 0.0
    clock = facts.clock(facts.audio(options.stream_index)) if facts else Clock(0.0, raw=False)
    begin = origin + (options.start_seconds or 0.0)
    # ffmpeg seeks from the container's first timestamp, and shows what it finds there as zero.
    into = (
        max(0.0, begin - facts.first_seconds - _SEEK_MARGIN_SECONDS)
        if facts and options.start_seconds
        else 0.0
    )
    begin -= clock.zero_seconds + (0.0 if clock.raw else into)
    seek = {"ss": f"{into:.6f}", "noaccurate_seek": None} if into else {}
    source = open_source(video, **clock.options(), vn=None, sn=None, dn=None, **{"discard:v": "all"}, **seek)
    index = facts.audio(options.stream_index).index if facts else options.stream_index
    track = source["a:0" if index is None else str(index)]
    if begin:
        track = track.filter("asetpts", f"PTS+({-begin:.6f})/TB")
    length = None if options.end_seconds is None else options.end_seconds - (options.start_seconds or 0.0)
    if options.start_seconds is not None or length is not None:
        slack = _ROUNDING_SECONDS if options.keep_offset else 0.0
        track = track.filter("atrim", start=0, **({"end": f"{length + slack:.6f}"} if length else {}))
    first = {"first_pts": 0} if options.keep_offset else {}
    # async=1 puts silence into holes longer than 0.1 s, so that what follows stays at its time.
    track = track.filter("aresample", options.sample_rate, **{"async": 1}, **first)
    if length is not None:
        # Timestamps may be rounded to milliseconds; counted samples are not.
        track = track.filter("atrim", end_sample=round(length * options.sample_rate))
    layout = {1: "mono", 2: "stereo"}.get(options.channels, f"{options.channels}c")
    track = track.filter("aformat", sample_fmts="s16", channel_layouts=layout)
    return _outputs(track, target, CODECS[options.codec])


def _outputs(track: Any, target: Path, codec: AudioCodec) -> Any:
    to_file = {"c:a": codec.encoder, "f": codec.muxer, "map_metadata": -1}
    if codec.encoder == "pcm_s16le":
        large = {"rf64": "auto"} if codec.muxer == "wav" else {}
        return ffmpeg.output(track, str(target), **large, **to_file)
    both = track.filter_multi_output("asplit")
    encoded = ffmpeg.output(both[0].filter("asetpts", "PTS-STARTPTS"), str(target), **to_file)
    plain = ffmpeg.output(both[1], str(_plain(target)), **{"c:a": "pcm_s16le", "f": "s16le"})
    return ffmpeg.merge_outputs(encoded, plain)


def _plain(target: Path) -> Path:
    return target.with_name(target.name + ".s16")


def _check_span(facts: MediaFacts, options: AudioOptions) -> None:
    # Where lengths are estimates only the decoder can tell.
    if facts.duration_seconds is None or facts.has_free_clock or not options.start_seconds:
        return
    end = facts.first_seconds - facts.clock_origin_seconds + facts.duration_seconds
    if options.start_seconds >= end:
        raise _behind(facts, options, end)


def _behind(facts: MediaFacts, options: AudioOptions, end: float) -> MediaFault:
    return MediaFault(
        FaultCode.RANGE_OUTSIDE_MEDIA,
        f"start {options.start_seconds:g} s is past the end of {facts.name} ({end:.3f} s)",
    )


def _nothing(facts: MediaFacts, stream: AudioStream, options: AudioOptions, heard: _Heard) -> MediaFault:
    if heard.end_seconds and options.start_seconds and options.start_seconds >= heard.end_seconds:
        return _behind(facts, options, heard.end_seconds)
    return MediaFault(FaultCode.OUTPUT_EMPTY, f"audio stream {stream.index} of {facts.name} holds no sound")


def _offset(facts: MediaFacts, stream: AudioStream, options: AudioOptions, heard: _Heard) -> float:
    start = options.start_seconds or 0.0
    if heard.first_seconds is not None:
        return max(0.0, heard.first_seconds - start)
    return max(0.0, facts.begins_seconds(stream) - start)


def _span(facts: MediaFacts, options: AudioOptions) -> float | None:
    """Return how many seconds will be written, for progress."""
    if facts.duration_seconds is None:
        return None
    end = facts.first_seconds - facts.clock_origin_seconds + facts.duration_seconds
    if options.end_seconds is not None:
        end = min(end, options.end_seconds)
    return end - (options.start_seconds or 0.0)


async def _warnings(
    runner: Runner,
    video: Path,
    facts: MediaFacts,
    stream: AudioStream,
    options: AudioOptions,
    heard: _Heard,
) -> tuple[str, ...]:
    found: list[str] = []
    written = heard.levels.frames / options.sample_rate
    if options.is_whole:
        begins = 0.0 if options.keep_offset else _offset(facts, stream, options, heard)
        found += await cut_off(runner, video, facts, stream, written, begins)
    if heard.damaged:
        found.append(f"{facts.name} is damaged: parts of its sound could not be decoded")
    if heard.breaks:
        found.append(
            f"the clock of {facts.name} breaks {heard.breaks} times: what follows was joined to what came before"
        )
    if options.stream_index is None and stream != facts.audios[0]:
        found.append(
            f"the first audio stream of {facts.name} cannot be decoded here; stream {stream.index} was taken"
        )
    return tuple(found)
