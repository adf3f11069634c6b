"""The origin system's four steps and the reading of pictures, from fetched files to stored ones; `node.py` declares them."""

from __future__ import annotations

import json
from contextlib import aclosing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nodekit import MediaKind, TaskContext, TaskFailed
from services.ocr import reading_worker, step_work
from services.ocr.engines import engine_for
from services.ocr.faults import FaultCode, OcrFault
from services.ocr.film import Area
from services.ocr.step_inputs import (
    CreateStitchedImagesInput,
    DetectSubtitleAreaInput,
    PerformOcrInput,
    PostprocessAndFinalizeInput,
    ReadImagesInput,
)
from services.ocr.step_items import Looked, PictureRead, StripsRead
from services.ocr.step_outputs import (
    CreateStitchedImagesOutput,
    DetectSubtitleAreaOutput,
    DownloadedPictures,
    FoundZone,
    PerformOcrOutput,
    PictureText,
    PostprocessAndFinalizeOutput,
    ReadImagesOutput,
    TextLine,
)

_MOST_PICTURES = 300
_LISTED = 100
_LINES_LISTED = 200
_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")


async def detect_subtitle_area(
    request: DetectSubtitleAreaInput, context: TaskContext
) -> DetectSubtitleAreaOutput:
    """Look for zones in a folder of pictures."""
    choice = await engine_for(request.engine, context)
    ref = request.keyframe_dir
    folder = await _folder(context, ref, request.auto_decompress, "/keyframe_dir")
    paths = await context.call(step_work.pictures_below, folder, "/keyframe_dir")
    chosen = step_work.spread(paths, request.keyframe_sample_count or _MOST_PICTURES)
    await context.progress(10, "looking")
    async with choice.warm(context) as model:
        looked: Looked = await model.run(reading_worker.look_for_zones, chosen)
    found = looked.found
    if not looked.width:
        message = f"none of the {len(chosen)} files is a picture that is read here"
        raise OcrFault(FaultCode.PICTURE_UNREADABLE, message, "/keyframe_dir")
    if not found.texts:
        raise OcrFault(
            FaultCode.NO_TEXT, f"none of the {found.pictures} pictures shows text", "/keyframe_dir"
        )
    zones = [
        FoundZone(
            area=zone.area.corners(),
            confidence=zone.confidence,
            orientation="vertical" if zone.orientation == "vertical" else "horizontal",
            alignment=zone.alignment,
            lines=zone.lines,
            font_height=zone.font_height,
        )
        for zone in found.zones
    ]
    lower = Area.from_corners(0, looked.height * 2 // 3, looked.width, max(looked.height - 10, 1))
    confidence = zones[0].confidence if zones else 0.0
    is_url = ref.startswith(("http://", "https://"))
    return DetectSubtitleAreaOutput(
        subtitle_area=zones[0].area if zones else lower.corners(),
        zones=zones,
        confidence=confidence,
        detection_confidence=confidence,
        detection_method="zones" if zones else "fallback",
        static_text=[[t.box.left, t.box.top, t.box.right, t.box.bottom] for t in found.static],
        keyframes_analyzed=found.pictures,
        unreadable_files=list(looked.unreadable[:_LISTED]),
        input_source="url_download" if is_url else "parameter",
        downloaded_keyframes_dir=folder.name if is_url else None,
        url_download_result=DownloadedPictures(
            total_files=len(paths),
            downloaded_files_count=len(paths),
            downloaded_local_dir=folder.name,
            original_url=ref,
        )
        if is_url
        else None,
        engine=choice.name,
        engine_reason=choice.reason,
        engine_models=choice.models,
    )


async def create_stitched_images(
    request: CreateStitchedImagesInput, context: TaskContext
) -> CreateStitchedImagesOutput:
    """Put strips below each other."""
    field = "/cropped_images_path"
    strips = await _folder(context, request.cropped_images_path, request.auto_decompress, field)
    folder, manifest = context.output_directory("multi_frames"), context.output_path("multi_frames.json")
    await context.progress(10, "stitching")
    stitched = await context.call(
        step_work.stitch, strips, folder, manifest, request.concat_batch_size, field
    )
    await context.progress(80, "storing")
    path = await context.store_directory(folder, name="multi_frames")
    listed = await context.store(manifest, name=manifest.name)
    return CreateStitchedImagesOutput(
        multi_frames_path=path,
        manifest_path=listed,
        multi_frames_minio_url=path,
        manifest_minio_url=listed,
        stitched_images_count=stitched.pictures,
        frames_count=stitched.frames,
    )


async def perform_ocr(request: PerformOcrInput, context: TaskContext) -> PerformOcrOutput:
    """Read stitched strips."""
    choice = await engine_for(request.engine, context)
    manifest = await context.fetch(request.manifest_path, kind=MediaKind.DATA)
    folder = await _folder(context, request.multi_frames_path, request.auto_decompress, "/multi_frames_path")
    read: StripsRead | None = None
    async with choice.warm(context) as model:
        arguments = (manifest, folder, request.conf_threshold, request.language)
        async with aclosing(model.stream(reading_worker.read_strips, *arguments)) as items:
            async for item in items:
                if isinstance(item, StripsRead):
                    read = item
                else:
                    await context.progress(95 * item, "reading")
    assert read is not None, "strips that are read end with what they say"
    path = context.output_path("ocr_results.json")
    await context.call(step_work.write_results, list(read.texts), path)
    stored = await context.store(path, name=path.name)
    return PerformOcrOutput(
        ocr_results_path=stored,
        ocr_results_minio_url=stored,
        ocr_results_count=len(read.texts),
        frames_count=read.frames,
        engine=read.engine,
        engine_reason=choice.reason,
        engine_models=choice.models,
        detector_calls=read.runs.detector,
        recogniser_calls=read.runs.recogniser,
    )


async def postprocess_and_finalize(
    request: PostprocessAndFinalizeInput, context: TaskContext
) -> PostprocessAndFinalizeOutput:
    """Make subtitles of what frames say."""
    ref = request.ocr_results_path or request.ocr_results_file
    assert ref is not None
    results = await context.fetch(ref, kind=MediaKind.DATA)
    film = await context.fetch(request.video_path, kind=MediaKind.VIDEO)
    folder = context.output_directory("final")
    rules = (request.text_similarity, request.min_duration_seconds, request.max_gap_seconds)
    count = await context.call(step_work.finalize, results, film, folder, film.stem, rules)
    if not count:
        return PostprocessAndFinalizeOutput(srt_file=None, json_file=None, subtitles_count=0)
    return PostprocessAndFinalizeOutput(
        srt_file=await context.store(folder / f"{film.stem}.srt"),
        json_file=await context.store(folder / f"{film.stem}.json"),
        subtitles_count=count,
    )


async def read_images(request: ReadImagesInput, context: TaskContext) -> ReadImagesOutput:
    """Read pictures one by one."""
    choice = await engine_for(request.engine, context)
    if request.images_dir is not None:
        folder = await _folder(context, request.images_dir, True, "/images_dir")
        paths = await context.call(step_work.pictures_below, folder, "/images_dir")
    else:
        paths = [await context.fetch(ref, kind=MediaKind.IMAGE) for ref in request.images or ()]
    read: list[PictureRead] = []
    async with choice.warm(context) as model:
        arguments = (paths, request.conf_threshold, request.language)
        async with aclosing(model.stream(reading_worker.read_pictures, *arguments)) as items:
            async for item in items:
                read.append(item)
                await context.progress(95 * len(read) / len(paths), "reading", item.name)
    if all(one.error for one in read):
        raise OcrFault(FaultCode.PICTURE_UNREADABLE, read[0].error or "", "/images")
    path = context.output_path("images.json")
    await context.call(_write, [asdict(one) for one in read], path)
    return ReadImagesOutput(
        json_file=await context.store(path, name=path.name),
        images=[_picture_text(one) for one in read[:_LISTED]],
        images_count=sum(one.error is None for one in read),
        engine=next((one.engine for one in reversed(read) if one.engine), choice.name),
        engine_reason=choice.reason,
        engine_models=choice.models,
    )


def _write(document: Any, path: Path) -> None:
    path.write_text(json.dumps(document, ensure_ascii=False, indent=1), encoding="utf-8")


def _picture_text(read: PictureRead) -> PictureText:
    lines = [
        TextLine(
            text=line.text,
            confidence=round(line.confidence, 4),
            bbox=[line.box.left, line.box.top, line.box.right, line.box.bottom],
        )
        for line in read.lines
    ]
    text = "\n".join(line.text for line in lines)
    return PictureText(name=read.name, text=text, lines=lines[:_LINES_LISTED], error=read.error)


async def _folder(context: TaskContext, ref: str, unpack: bool, field: str) -> Path:
    """Fetch a folder; an archive only where it may be unpacked."""
    if not unpack and ref.lower().split("?")[0].endswith(_ARCHIVES):
        raise TaskFailed(
            "ARCHIVE_REFUSED", f"{field} is an archive, and auto_decompress is false", field=field
        )
    return await context.fetch_directory(ref)
