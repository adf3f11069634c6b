"""FFmpeg node: takes sound, key frames, subtitle strips and segments out of media files.

A task here fetches, calls its engine and stores; what is done to media is in the engine modules beside it.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from media.audio import CODECS
from media.audio import extract_audio as take_audio
from media.faults import FaultCode, MediaFault
from media.process import Progress
from nodekit import MediaKind, Node, TaskContext, TaskFailed
from services.ffmpeg.archive import SUFFIXES, pack
from services.ffmpeg.frame_manifest import keyframe_manifest, strip_manifest
from services.ffmpeg.hardware import decoding
from services.ffmpeg.inputs import (
    CropSubtitleImagesInput,
    ExtractAudioInput,
    ExtractKeyframesInput,
    MixVoiceOverInput,
    SplitAudioSegmentsInput,
)
from services.ffmpeg.keyframes import extract_keyframes as take_keyframes
from services.ffmpeg.options import (
    audio_options,
    keyframe_options,
    split_cues,
    split_options,
    strip_options,
    voice_over,
)
from services.ffmpeg.outputs import (
    CompressionInfo,
    CropSubtitleImagesOutput,
    ExtractAudioOutput,
    ExtractKeyframesOutput,
    MixVoiceOverOutput,
    SplitAudioSegmentsOutput,
)
from services.ffmpeg.release import ffmpeg_release
from services.ffmpeg.segments import split_audio
from services.ffmpeg.settings import ffmpeg_settings
from services.ffmpeg.split_info import speaker_summary, split_info
from services.ffmpeg.strips import cut_strips
from services.ffmpeg.voice_over import BACKGROUND, FILM, VOICE
from services.ffmpeg.voice_over import voice_over as put_voice_over

SPLIT_INFO = "split_info.json"
_ENGINE_PERCENT = 95.0
_MAX_LISTED = 1000
_INPUTS = {FILM: "/video_path", VOICE: "/voice_path", BACKGROUND: "/background_path"}
_FIELDS = {
    FaultCode.STREAM_NOT_FOUND: "/stream_index",
    FaultCode.SUBTITLE_UNREADABLE: "/subtitle_path",
    FaultCode.SUBTITLE_EMPTY: "/subtitle_path",
    # Several fields together, or none: a full disk is not the media's fault.
    **dict.fromkeys(
        (
            FaultCode.RANGE_OUTSIDE_MEDIA,
            FaultCode.AREA_OUTSIDE_FRAME,
            FaultCode.NO_SEGMENTS,
            FaultCode.DISK_FULL,
            FaultCode.FFMPEG_FAILED,
        ),
        "",
    ),
}
"""Where a fault is not the media's own."""

node = Node("ffmpeg", engines=ffmpeg_release)


@node.task("ffmpeg.extract_audio", reuse_field="audio_path")
async def extract_audio(request: ExtractAudioInput, context: TaskContext) -> ExtractAudioOutput:
    """Takes one audio track out of a film, in step with the film's clock."""
    video = await context.fetch(request.video_path, kind=MediaKind.VIDEO)
    target = context.output_path(f"{video.stem}{CODECS[request.codec].suffix}")
    began = time.monotonic()
    with _faults("/video_path"):
        taken = await take_audio(context, video, target, audio_options(request), _report(context, "decoding"))
    context.worked_on(taken.levels.frames / request.sample_rate, time.monotonic() - began)
    return ExtractAudioOutput(
        audio_path=await _stored(context, target),
        duration=round(taken.levels.frames / request.sample_rate, 6),
        sample_rate=request.sample_rate,
        channels=request.channels,
        codec=request.codec,
        stream_index=taken.stream.index,
        channels_in=taken.stream.channels,
        sample_rate_in=taken.stream.sample_rate,
        offset_ms=round(taken.offset_seconds * 1000, 3),
        offset_kept=request.keep_offset,
        clipped_ratio=round(taken.levels.clipped_ratio, 6),
        rms_db=taken.levels.rms_db,
        warnings=list(taken.warnings),
    )


@node.task("ffmpeg.extract_keyframes", reuse_field="keyframe_dir")
async def extract_keyframes(request: ExtractKeyframesInput, context: TaskContext) -> ExtractKeyframesOutput:
    """Takes still pictures out of a film, each with its true time."""
    video = await context.fetch(request.video_path, kind=MediaKind.VIDEO)
    folder = context.output_directory("keyframes")
    began = time.monotonic()
    with _faults("/video_path"):
        taken = await take_keyframes(
            context, video, folder, keyframe_options(request), _report(context, "decoding")
        )
    context.worked_on(taken.facts.duration_seconds or 0.0, time.monotonic() - began)
    manifest = await _write_json(
        context.output_path("keyframes.json"), keyframe_manifest(taken, request.mode)
    )
    return ExtractKeyframesOutput(
        keyframe_dir=await context.store_directory(folder, name="keyframes"),
        keyframe_files_count=len(taken.frames),
        manifest_path=await _stored(context, manifest),
        frame_width=taken.frame_size.width,
        frame_height=taken.frame_size.height,
        video_width=taken.display_size.width,
        video_height=taken.display_size.height,
        duration=taken.facts.duration_seconds,
        duplicates_dropped=taken.duplicates_dropped,
        warnings=list(taken.warnings),
        **await _packed(
            context,
            folder if request.compress_keyframes_before_upload else None,
            request.keyframe_compression_format,
            request.keyframe_compression_level,
            ("keyframe_compressed_archive_url", "keyframe_compression_info"),
        ),
    )


@node.task("ffmpeg.crop_subtitle_images", gpu=True, reuse_field="cropped_images_path")
async def crop_subtitle_images(
    request: CropSubtitleImagesInput, context: TaskContext
) -> CropSubtitleImagesOutput:
    """Cuts the subtitle area out of every frame of a film, each with its true time."""
    video = await context.fetch(request.video_path, kind=MediaKind.VIDEO)
    folder = context.output_directory("cropped_images/frames")
    options = strip_options(request)
    with _faults("/video_path"):
        async with decoding(
            context, video, request.stream_index, request.decoder, ffmpeg_settings()
        ) as decoder:
            began = time.monotonic()
            taken = await cut_strips(context, video, folder, options, decoder, _report(context, "decoding"))
            context.worked_on(taken.facts.duration_seconds or 0.0, time.monotonic() - began)
    manifest = await _write_json(
        context.output_path("cropped_images.json"), strip_manifest(taken, options.as_files)
    )
    stored = await context.store_directory(folder, name="cropped_images/frames")
    names = [f"{stored}{number:08d}.jpg" for number in range(1, min(len(taken.times), _MAX_LISTED) + 1)]
    return CropSubtitleImagesOutput(
        cropped_images_path=stored,
        cropped_images_files_count=len(taken.times) if options.as_files else 1,
        frames_count=len(taken.times),
        manifest_path=await _stored(context, manifest),
        subtitle_area=taken.area.corners(),
        decoder=taken.decoder,
        cropped_images_uploaded_files=(
            names if request.upload_cropped_images_to_minio and options.as_files else None
        ),
        warnings=list(taken.warnings),
        **await _packed(
            context,
            folder if request.compress_directory_before_upload else None,
            request.compression_format,
            request.compression_level,
        ),
    )


@node.task("ffmpeg.split_audio_segments", reuse_field="audio_segments_dir")
async def split_audio_segments(
    request: SplitAudioSegmentsInput, context: TaskContext
) -> SplitAudioSegmentsOutput:
    """Splits a recording by subtitles, pauses, a fixed length or a given list, in one decode."""
    source = await context.fetch(request.audio_path)
    subtitle = await context.fetch(request.subtitle_path) if request.subtitle_path else None
    folder = context.output_directory("audio_segments")
    options = split_options(request)
    with _faults("/audio_path"):
        cues = await split_cues(context, request, subtitle)
        began = time.monotonic()
        split = await split_audio(
            context,
            source,
            cues,
            folder,
            context.output_path("whole.s16"),
            options,
            _report(context, "splitting"),
        )
        context.worked_on(split.audio.levels.frames / request.sample_rate, time.monotonic() - began)
    directory = f"{context.output_prefix}audio_segments/"
    info = split_info(split, options, folder, directory, datetime.now(UTC))
    await _write_json(folder / SPLIT_INFO, info)
    await context.progress(_ENGINE_PERCENT, "storing")
    stored = await context.store_directory(folder, name="audio_segments")
    packed = await _packed(
        context,
        folder if request.compress_segments_before_upload else None,
        request.segment_compression_format,
        request.segment_compression_level,
    )
    figures = info["metadata"]
    return SplitAudioSegmentsOutput(
        audio_segments_dir=stored,
        audio_source=request.audio_path,
        subtitle_source=request.subtitle_path or request.by,
        **{name: figures[name] for name in SplitAudioSegmentsOutput.model_fields.keys() & figures.keys()},
        audio_duration=round(split.audio.levels.frames / request.sample_rate, 6),
        split_info_file=f"{stored}{SPLIT_INFO}",
        segments_count=len(split.written),
        speaker_summary=speaker_summary(split, options, folder),
        warnings=list(split.audio.warnings),
        **packed,
    )


@node.task("ffmpeg.mix_voice_over", timeout_seconds=7200, reuse_field="video_path")
async def mix_voice_over(request: MixVoiceOverInput, context: TaskContext) -> MixVoiceOverOutput:
    """Puts a voice over a film: the rest of its sound steps back while somebody speaks, and the whole is as loud as asked."""
    film = await context.fetch(request.video_path, kind=MediaKind.VIDEO)
    voice = await context.fetch(request.voice_path, kind=MediaKind.AUDIO)
    background = None
    if request.background_path:
        background = await context.fetch(request.background_path, kind=MediaKind.AUDIO)

    async def tell(share: float, stage: str) -> None:
        await context.progress(share * _ENGINE_PERCENT, stage)

    stem = Path(request.output_filename).stem or f"{film.stem}_dubbed"
    began = time.monotonic()
    with _faults("/video_path"):
        made = await put_voice_over(
            context,
            film,
            voice,
            background,
            context.output_directory("film"),
            stem,
            voice_over(request),
            tell,
        )
    context.worked_on(made.seconds, time.monotonic() - began)
    return MixVoiceOverOutput(
        video_path=await _stored(context, made.path),
        duration=round(made.seconds, 6),
        loudness_lufs=round(made.loudness.lufs, 2),
        true_peak_db=round(made.loudness.true_peak_db, 2),
        speaking_share=round(made.speaking_share, 4),
        audio_tracks=made.audio_tracks,
    )


@contextmanager
def _faults(field: str) -> Iterator[None]:
    """Turn what an engine says of the media into the task's failure; `field` is the media's where the fault does not say which."""
    try:
        yield
    except MediaFault as fault:
        at = _FIELDS.get(fault.code, _INPUTS.get(fault.source, field))
        raise TaskFailed(fault.code.value, fault.message, fault.retryable, at) from fault


def _report(context: TaskContext, stage: str) -> Progress:
    """Return a progress for an engine that leaves some percent for storing."""

    async def report(share: float) -> None:
        await context.progress(share * _ENGINE_PERCENT, stage)

    return report


async def _stored(context: TaskContext, path: Path) -> str:
    await context.progress(_ENGINE_PERCENT, "storing")
    return await context.store(path)


async def _write_json(path: Path, document: dict[str, Any]) -> Path:
    body = orjson.dumps(document, option=orjson.OPT_INDENT_2)
    await asyncio.to_thread(path.write_bytes, body)
    return path


async def _packed(
    context: TaskContext,
    folder: Path | None,
    archive_format: str,
    level: str,
    fields: tuple[str, str] = ("compressed_archive_url", "compression_info"),
) -> dict[str, Any]:
    """Store an archive of a folder and return the output fields that tell of it; none when none is asked for."""
    if folder is None:
        return {}
    target = context.output_path(f"{folder.name}{SUFFIXES[archive_format]}")
    try:
        made = await context.call(pack, folder, target, archive_format, level)
    except OSError as error:
        return {
            "fallback_from_compression": True,
            "original_error": f"the archive could not be made: {error.strerror}",
        }
    info = CompressionInfo(**dataclasses.asdict(made))
    return {fields[0]: await context.store(target), fields[1]: info}
