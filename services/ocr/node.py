"""The node that reads: burned-in subtitles become a file with the text and the exact frames of each.

A task here has the engine's worker decode and read the film, tells watchers each line as it is read, and stores the files.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

from nodekit import MediaKind, Node, TaskContext, TaskFailed
from services.ocr import reading_worker
from services.ocr.faults import OcrFault
from services.ocr.inputs import ExtractSubtitlesInput
from services.ocr.outputs import ExtractSubtitlesOutput
from services.ocr.reading_items import Options, Progress, Result
from services.ocr.subtitle_files import write_files

node = Node("paddleocr", slots=1, engines=lambda: ["rapidocr/3.10.0"])


@node.task("paddleocr.extract_subtitles", timeout_seconds=24 * 3600, reuse_field="json_file")
async def extract_subtitles(request: ExtractSubtitlesInput, context: TaskContext) -> ExtractSubtitlesOutput:
    """Reads the subtitles that are burned into a film's picture."""
    film = await context.fetch(request.video_path, kind=MediaKind.VIDEO)
    options = Options(
        area=request.subtitle_area,
        confidence=request.conf_threshold,
        min_seconds=request.min_duration_ms / 1000,
        merge_gap_seconds=request.max_merge_gap_ms / 1000,
        drop_static_text=request.drop_static_text,
        drop_scene_text=request.drop_scene_text,
    )
    load = partial(reading_worker.load, context.threads)
    async with context.warm(f"rapidocr/{context.threads}", load, processor=True) as model:
        load_seconds = 0.0 if model.warm else model.load_seconds
        try:
            result = await _read(context, model.stream(reading_worker.read_film, film, options))
        except OcrFault as fault:
            raise TaskFailed(fault.code, fault.message, field=fault.field) from None
    await context.progress(97, "writing")
    folder = context.output_directory("subtitles")
    paths = await context.call(write_files, result, folder, film.stem, request.formats)
    return await _stored(context, result, paths, load_seconds)


async def _read(context: TaskContext, items: AsyncIterator[Progress | Result]) -> Result:
    """Tell watchers what is read as it is read; return the whole."""
    async for item in items:
        if isinstance(item, Result):
            return item
        percent = 95 * min(1.0, item.until / item.film_seconds) if item.film_seconds else 0
        lines = [
            {"start": round(one.start, 3), "end": round(one.end, 3), "text": one.text} for one in item.lines
        ]
        await context.progress(
            percent, "reading", data={"lines": lines, "read_seconds": round(item.until, 3)}
        )
    raise AssertionError("a film that is read ends with its result")


async def _stored(
    context: TaskContext, result: Result, paths: dict[str, Path], load_seconds: float
) -> ExtractSubtitlesOutput:
    stored = {form: await context.store(path, name=path.name) for form, path in paths.items()}
    area, figures = result.area, result.figures
    return ExtractSubtitlesOutput(
        subtitles_count=len(result.cues),
        srt_file=stored.get("srt"),
        vtt_file=stored.get("vtt"),
        ass_file=stored.get("ass"),
        json_file=stored.get("json"),
        subtitle_area=[area.x, area.y, area.x + area.width, area.y + area.height],
        static_text=list(dict.fromkeys(line.text for line in result.static)),
        scene_text=list(dict.fromkeys(line.text for line in result.scene)),
        soft_subtitles=list(result.film.subtitle_languages),
        engine=result.engine,
        frames=figures.frames,
        detector_calls=figures.detector_calls,
        recogniser_calls=figures.recogniser_calls,
        load_seconds=round(load_seconds, 3),
    )
