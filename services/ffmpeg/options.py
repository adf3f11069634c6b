"""From the tasks' inputs to the engines' options, so that neither knows the other."""

from __future__ import annotations

from pathlib import Path

from media.audio import AudioOptions
from media.geometry import Region, Size
from media.process import Runner
from services.ffmpeg.cuts import CutRules, SplitBy
from services.ffmpeg.ducking import Ducking
from services.ffmpeg.frame_choice import KeyframeOptions, Mode
from services.ffmpeg.inputs import (
    CropSubtitleImagesInput,
    ExtractAudioInput,
    ExtractKeyframesInput,
    MixVoiceOverInput,
    SplitAudioSegmentsInput,
)
from services.ffmpeg.segment_encoding import Concurrency
from services.ffmpeg.segments import SplitOptions
from services.ffmpeg.silences import SilenceRule
from services.ffmpeg.strips import StripOptions
from services.ffmpeg.subtitle_times import Cue, load_cues
from services.ffmpeg.voice_over import VoiceOver


def audio_options(request: ExtractAudioInput) -> AudioOptions:
    """Return what the audio engine is to do."""
    return AudioOptions(
        sample_rate=request.sample_rate,
        channels=request.channels,
        codec=request.codec,
        stream_index=request.stream_index,
        start_seconds=request.start,
        end_seconds=request.end,
        keep_offset=request.keep_offset,
    )


def keyframe_options(request: ExtractKeyframesInput) -> KeyframeOptions:
    """Return what the key frame engine is to do."""
    return KeyframeOptions(
        mode=Mode(request.mode),
        count=request.keyframe_sample_count,
        fps=request.fps,
        scene_threshold=request.scene_threshold,
        timestamps=tuple(request.timestamps),
        max_width=request.max_width,
        image_format=request.format,
        quality=request.quality,
        area=Region(*request.crop) if request.crop else request.area,
        dedup_distance=request.dedup_distance,
        autorotate=request.autorotate,
        apply_sar=request.sar == "apply",
        stream_index=request.stream_index,
    )


def strip_options(request: CropSubtitleImagesInput) -> StripOptions:
    """Return what the strip engine is to do."""
    return StripOptions(
        area=Region.from_corners(*request.subtitle_area),
        area_frame=Size(*request.area_frame_size) if request.area_frame_size else None,
        as_files=request.output == "jpg",
        quality=request.quality,
        decode_threads=request.decode_processes,
        stream_index=request.stream_index,
    )


def split_options(request: SplitAudioSegmentsInput) -> SplitOptions:
    """Return what the split engine is to do."""
    rules = CutRules(
        by=SplitBy(request.by),
        min_segment_seconds=request.min_segment_duration,
        max_segment_seconds=request.max_segment_duration,
        keep_short=request.include_silence,
        pad_seconds=request.pad_ms / 1000,
        fixed_seconds=request.segment_seconds,
        silence=SilenceRule(
            threshold=request.silence_threshold,
            min_silence_seconds=request.min_silence_ms / 1000,
            margin_seconds=request.margin_ms / 1000,
        ),
    )
    workers = request.max_workers if request.enable_concurrent else 1
    return SplitOptions(
        rules=rules,
        by_speaker=request.group_by_speaker,
        output_format=request.output_format,
        sample_rate=request.sample_rate,
        channels=request.channels,
        stream_index=request.stream_index,
        concurrency=Concurrency(workers, request.concurrent_timeout),
    )


async def split_cues(runner: Runner, request: SplitAudioSegmentsInput, subtitle: Path | None) -> list[Cue]:
    """Return the cues to split by; none for a split that finds its own places.

    Parsing a stranger's subtitle file is done where it can be killed.

    Raises:
        MediaFault: SUBTITLE_UNREADABLE or SUBTITLE_EMPTY.
    """
    if subtitle is not None:
        cues: list[Cue] = await runner.call(load_cues, subtitle, request.subtitle_encoding)
        return cues
    return [Cue(part.start, part.end, part.text, part.speaker) for part in request.segments or ()]


def voice_over(request: MixVoiceOverInput) -> VoiceOver:
    """Return what is made of the film."""
    ducking = Ducking(request.duck_db, request.attack_seconds, request.release_seconds, request.hold_seconds)
    return VoiceOver(
        ducking, request.target_lufs, request.true_peak_db, request.keep_original, request.language
    )
