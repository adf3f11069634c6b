"""Splits a recording into segments: one decode, then samples are copied, then (for other formats) encoded."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

from media.audio import AudioOptions, ExtractedAudio, extract_audio
from media.faults import FaultCode, MediaFault
from media.process import Progress, Runner
from services.ffmpeg.cuts import CutRules, Plan
from services.ffmpeg.segment_encoding import SEGMENT_FORMATS, Concurrency, encode_all
from services.ffmpeg.segment_files import Recording, SegmentFile, cut_recording
from services.ffmpeg.subtitle_times import Cue

_DECODED_SHARE = 0.7
_CUT_SHARE = 0.8


@dataclass(frozen=True)
class SplitOptions:
    """How a recording is split and written."""

    rules: CutRules
    by_speaker: bool = False
    output_format: str = "wav"
    sample_rate: int = 16_000
    channels: int = 1
    stream_index: int | None = None
    concurrency: Concurrency = field(default_factory=Concurrency)


@dataclass(frozen=True)
class Segment:
    """One segment that was written, or (path None) could not be."""

    file: SegmentFile
    path: Path | None


@dataclass(frozen=True)
class Split:
    """What a recording became."""

    audio: ExtractedAudio
    plan: Plan
    segments: tuple[Segment, ...]
    processing_seconds: float

    @property
    def written(self) -> list[Segment]:
        """The segments that have a file."""
        return [segment for segment in self.segments if segment.path is not None]

    @property
    def failed_count(self) -> int:
        """Segments that could not be encoded, and cues that lie behind the end of the recording."""
        return len(self.segments) - len(self.written) + len(self.plan.outside)


async def split_audio(
    runner: Runner,
    source: Path,
    cues: list[Cue],
    folder: Path,
    scratch: Path,
    options: SplitOptions,
    progress: Progress | None = None,
) -> Split:
    """Write the segments of `source` (any media with sound) into `folder`; `scratch` is a free file name.

    Raises:
        MediaFault: unreadable media, no sound, or NO_SEGMENTS when not one segment came out.
    """
    began = time.monotonic()
    decoded = AudioOptions(options.sample_rate, options.channels, "s16le", options.stream_index)
    audio = await extract_audio(runner, source, scratch, decoded, _part(progress, 0.0, _DECODED_SHARE))
    recording = Recording(scratch, options.sample_rate, options.channels)
    plan, files = await runner.call(cut_recording, recording, cues, options.rules, options.by_speaker, folder)
    recording.remove()
    paths = await _encoded(runner, files, folder, options, _part(progress, _CUT_SHARE, 1.0))
    segments = tuple(Segment(file, path) for file, path in zip(files, paths, strict=True))
    split = Split(audio, plan, segments, time.monotonic() - began)
    if not split.written:
        raise MediaFault(FaultCode.NO_SEGMENTS, _nothing(split, options.rules))
    return split


async def _encoded(
    runner: Runner, files: list[SegmentFile], folder: Path, options: SplitOptions, progress: Progress | None
) -> list[Path | None]:
    waves = [folder / f"{file.name}.wav" for file in files]
    if options.output_format == "wav":
        return list(waves)
    codec = SEGMENT_FORMATS[options.output_format]
    return await encode_all(runner, waves, codec, options.concurrency, progress)


def _part(progress: Progress | None, start: float, end: float) -> Progress | None:
    """Return a progress that fills only a part of the whole."""
    if progress is None:
        return None
    whole = progress

    async def report(share: float) -> None:
        await whole(start + share * (end - start))

    return report


def _nothing(split: Split, rules: CutRules) -> str:
    reasons = []
    if split.plan.dropped_short:
        reasons.append(f"{split.plan.dropped_short} shorter than {rules.min_segment_seconds:g} s")
    if split.plan.outside:
        reasons.append(f"{len(split.plan.outside)} behind the end of the recording")
    if split.segments:
        reasons.append(f"{len(split.segments)} could not be encoded")
    return "splitting finished without a single segment: " + (
        ", ".join(reasons) or "nothing but silence was found"
    )
