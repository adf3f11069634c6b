"""The node that reads: burned-in subtitles become a file with the text and the exact frames of each.

A task here has the engine's worker decode and read the film, tells watchers each line as it is read, and stores the files.
"""

from __future__ import annotations

from pathlib import Path

from media.faults import MediaFault
from media.promise import cut_off
from nodekit import MediaKind, Node, TaskContext
from services.ocr import steps
from services.ocr.engines import Choice, engine_for, published
from services.ocr.extraction import Extraction, texts_of
from services.ocr.film import of_media
from services.ocr.inputs import ExtractSubtitlesInput
from services.ocr.outputs import ExtractSubtitlesOutput
from services.ocr.reading_items import Options, Result
from services.ocr.step_inputs import (
    CreateStitchedImagesInput,
    DetectSubtitleAreaInput,
    PerformOcrInput,
    PostprocessAndFinalizeInput,
    ReadImagesInput,
)
from services.ocr.step_outputs import (
    CreateStitchedImagesOutput,
    DetectSubtitleAreaOutput,
    PerformOcrOutput,
    PostprocessAndFinalizeOutput,
    ReadImagesOutput,
)
from services.ocr.subtitle_files import write_files
from services.ocr.view import View

node = Node("paddleocr", slots=1, engines=published)


@node.task("paddleocr.extract_subtitles", gpu=True, timeout_seconds=24 * 3600, reuse_field="json_file")
async def extract_subtitles(request: ExtractSubtitlesInput, context: TaskContext) -> ExtractSubtitlesOutput:
    """Reads the subtitles that are burned into a film's picture."""
    choice = await engine_for(request.engine, context)
    film = await context.fetch(request.video_path, kind=MediaKind.VIDEO)
    options = _options(request)
    extraction = Extraction(context, film, options, choice, partial_on_cancel=request.partial_on_cancel)
    result = await extraction.read()
    warnings = await _warnings(context, film, result)
    await context.progress(97, "writing")
    folder = context.output_directory("subtitles")
    paths = await context.call(write_files, result, folder, film.stem, request.formats)
    return await _stored(context, result, paths, extraction, choice, warnings)


@node.task("paddleocr.detect_subtitle_area", gpu=True, reuse_field="subtitle_area")
async def detect_subtitle_area(
    request: DetectSubtitleAreaInput, context: TaskContext
) -> DetectSubtitleAreaOutput:
    """Finds where subtitles stand in pictures of a film."""
    return await steps.detect_subtitle_area(request, context)


@node.task("paddleocr.create_stitched_images", reuse_field="multi_frames_path")
async def create_stitched_images(
    request: CreateStitchedImagesInput, context: TaskContext
) -> CreateStitchedImagesOutput:
    """Puts the strips of many frames into few pictures."""
    return await steps.create_stitched_images(request, context)


@node.task("paddleocr.perform_ocr", gpu=True, timeout_seconds=3600, reuse_field="ocr_results_path")
async def perform_ocr(request: PerformOcrInput, context: TaskContext) -> PerformOcrOutput:
    """Reads stitched strips: what each frame says."""
    return await steps.perform_ocr(request, context)


@node.task("paddleocr.postprocess_and_finalize", reuse_field="srt_file")
async def postprocess_and_finalize(
    request: PostprocessAndFinalizeInput, context: TaskContext
) -> PostprocessAndFinalizeOutput:
    """Makes subtitles of what frames say."""
    return await steps.postprocess_and_finalize(request, context)


@node.task("paddleocr.read_images", gpu=True, reuse_field="json_file")
async def read_images(request: ReadImagesInput, context: TaskContext) -> ReadImagesOutput:
    """Reads the text in pictures."""
    return await steps.read_images(request, context)


def _options(request: ExtractSubtitlesInput) -> Options:
    zones = request.zones or ([request.subtitle_area] if request.subtitle_area else [])
    return Options(
        zones=tuple(zones),
        find_zones=request.find_zones,
        language=request.language,
        confidence=request.conf_threshold,
        min_seconds=request.min_duration_ms / 1000,
        merge_gap_seconds=request.max_merge_gap_ms / 1000,
        drop_static_text=request.drop_static_text,
        drop_scene_text=request.drop_scene_text,
    )


async def _warnings(context: TaskContext, path: Path, result: Result) -> tuple[str, ...]:
    film = result.film
    begins = film.facts.begins_seconds(film.stream)
    try:
        return await cut_off(context, path, film.facts, film.stream, result.until - begins, begins)
    except MediaFault as fault:
        raise of_media(fault) from None


async def _stored(
    context: TaskContext,
    result: Result,
    paths: dict[str, Path],
    extraction: Extraction,
    choice: Choice,
    warnings: tuple[str, ...],
) -> ExtractSubtitlesOutput:
    stored = {form: await context.store(path, name=path.name) for form, path in paths.items()}
    runs = result.figures.runs
    return ExtractSubtitlesOutput(
        subtitles_count=len(result.cues),
        srt_file=stored.get("srt"),
        vtt_file=stored.get("vtt"),
        ass_file=stored.get("ass"),
        json_file=stored.get("json"),
        subtitle_area=View(result.zones).region.corners(),
        zones=[zone.corners() for zone in result.zones],
        static_text=texts_of(result.static),
        scene_text=texts_of(result.scene),
        soft_subtitles=list(result.film.subtitle_languages),
        engine=result.engine,
        engine_reason=choice.reason,
        engine_models=choice.models,
        device=result.device,
        frames=result.figures.frames,
        detector_calls=runs.detector,
        recogniser_calls=runs.recogniser,
        resumed_at_seconds=extraction.resumed_at,
        load_seconds=round(extraction.load_seconds, 3),
        warnings=list(warnings),
    )
