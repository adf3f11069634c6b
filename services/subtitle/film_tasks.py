"""The tasks that put subtitles into films, or take them out."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from media.faults import MediaFault
from media.languages import language_code
from media.packets import probe_timed
from nodekit import MediaKind, TaskContext, TaskFailed
from services.subtitle import films
from services.subtitle.covering import cover_graph, read_bands
from services.subtitle.faults import FaultCode, SubtitleFault
from services.subtitle.fetching import fetch_file
from services.subtitle.film_inputs import BurnSubtitlesInput, ExtractSoftSubtitlesInput, MuxSubtitlesInput
from services.subtitle.film_outputs import (
    BurnSubtitlesOutput,
    ExtractSoftSubtitlesOutput,
    FoundTrack,
    MuxSubtitlesOutput,
)
from services.subtitle.offer import node
from services.subtitle.rework import write_cues
from services.subtitle.sources import Source, load_document
from subtitles.encoding import decode
from subtitles.writing import AssStyle


@node.task("wservice.extract_soft_subtitles")
async def extract_soft_subtitles(
    request: ExtractSoftSubtitlesInput, context: TaskContext
) -> ExtractSoftSubtitlesOutput:
    """Takes the tracks of subtitles out of a film that viewers can choose."""
    with _faults():
        film = await context.fetch(request.video_path, kind=MediaKind.VIDEO)
        wanted = {language_code(language, "mp4") for language in request.languages}
        tracks = [
            track
            for track in await films.find_tracks(context, film)
            if not wanted or language_code(track.language, "mp4") in wanted
        ]
        folder = context.output_directory("tracks")
        texts = await films.take_out(context, film, [track for track in tracks if track.is_text], folder)
        found = []
        for place, track in enumerate(tracks):
            await context.progress(50 + 50 * place / len(tracks), "writing")
            path, count = None, 0
            if track.index in texts:
                name = ".".join(
                    filter(None, (film.stem, str(track.index), track.language, request.output_format))
                )
                target = context.output_path(name)
                count = await context.call(convert_track, texts[track.index], target)
                path = await context.store(target) if count else None
            found.append(
                FoundTrack(**vars(track), is_text=track.is_text, subtitle_path=path, total_cues=count)
            )
    with_text = sorted((one for one in found if one.subtitle_path), key=lambda one: not one.default)
    return ExtractSoftSubtitlesOutput(
        subtitle_path=with_text[0].subtitle_path if with_text else None, tracks=found
    )


def convert_track(source: Path, target: Path) -> int:
    """Write a track in the form of the target's extension; returns how many cues it has. Runs in a worker process."""
    cues = load_document(Source("/video_path", path=source)).cues
    if target.suffix == ".ass":
        shutil.copyfile(source, target)
    else:
        write_cues(cues, target)
    return len(cues)


@node.task("wservice.mux_subtitles", timeout_seconds=3600)
async def mux_subtitles(request: MuxSubtitlesInput, context: TaskContext) -> MuxSubtitlesOutput:
    """Puts subtitles into a film as tracks that viewers can choose, with language and name; picture and sound are copied."""
    with _faults():
        film = await context.fetch(request.video_path, kind=MediaKind.VIDEO)
        new = []
        for number, track in enumerate(request.tracks):
            field = f"/tracks/{number}/subtitle_path"
            source = await fetch_file(track.subtitle_path, field, context)
            path = context.output_path(f"new-{number}.ass")
            await context.call(to_ass_file, source, path, AssStyle())
            new.append(films.NewTrack(path, track.language, track.title, track.default, track.forced))
        stem = request.output_filename or PurePosixPath(request.video_path).stem or "film"
        target = context.output_path(f"{stem}.{request.container}")
        count = await films.put_in(
            context, film, new, target, keep_existing=request.keep_existing, progress=_progress(context)
        )
    return MuxSubtitlesOutput(video_path=await context.store(target), total_tracks=count)


@node.task("wservice.burn_subtitles", timeout_seconds=14_400)
async def burn_subtitles(request: BurnSubtitlesInput, context: TaskContext) -> BurnSubtitlesOutput:
    """Draws subtitles into the picture of a film by libass; its sound is copied."""
    with _faults():
        film = await context.fetch(request.video_path, kind=MediaKind.VIDEO)
        source = await fetch_file(request.subtitle_path, "/subtitle_path", context, request.encoding)
        facts = await probe_timed(context, film)
        style = films.style_for(facts, request.font, request.font_size, request.margin)
        subtitle = context.output_path("burned.ass")
        count = await context.call(to_ass_file, source, subtitle, style)
        bands = []
        if request.cover_path:
            boxes = await context.fetch(request.cover_path, kind=MediaKind.SUBTITLE)
            bands = await context.call(read_bands, boxes, *films.shown_size(facts))
        stem = request.output_filename or f"{PurePosixPath(request.video_path).stem or 'film'}_subtitled"
        target = context.output_path(f"{stem}.mp4")
        seconds = await films.burn(
            context,
            film,
            subtitle,
            target,
            crf=request.crf,
            preset=request.preset,
            cover=cover_graph(bands, request.cover) if bands else "",
            progress=_progress(context),
        )
    return BurnSubtitlesOutput(
        video_path=await context.store(target),
        total_cues=count,
        covered_areas=len(bands),
        duration=round(seconds, 3),
    )


def to_ass_file(source: Source, target: Path, style: AssStyle) -> int:
    """Write subtitles as ASS, one that is ASS already with its own styles; returns its cues. Runs in a worker process.

    Raises SubtitleFault: SUBTITLE_UNREADABLE or SUBTITLE_EMPTY.
    """
    document = load_document(source)
    cues = [cue for cue in document.cues if cue.plain and cue.end > cue.start >= 0]
    if not cues:
        raise SubtitleFault(FaultCode.SUBTITLE_EMPTY, f"{source.name} has no cue to show", source.field)
    if document.form == "ass" and source.path is not None:
        target.write_text(decode(source.path.read_bytes(), source.encoding).text, encoding="utf-8")
    else:
        films.write_ass(cues, target, style)
    return len(cues)


def _progress(context: TaskContext) -> Callable[[float], Awaitable[None]]:
    async def tell(share: float) -> None:
        await context.progress(10 + 85 * share, "encoding")

    return tell


@contextmanager
def _faults() -> Iterator[None]:
    """Turn a fault of a film or of subtitles into the task's failure."""
    try:
        yield
    except MediaFault as fault:
        raise TaskFailed(fault.code.value, fault.message, fault.retryable, "/video_path") from None
