"""Subtitle node: makes subtitles of transcripts and speakers, and mends, converts and compares them.

A task here fetches, has a worker do the work, and stores; the rules are in `subtitles/` and in the modules beside this one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from nodekit import MediaKind, TaskContext
from services.subtitle import film_tasks as film_tasks  # declares its tasks on the node, as the next one does
from services.subtitle import merging, production, rework
from services.subtitle import revision_tasks as revision_tasks
from services.subtitle.faults import FaultCode, SubtitleFault
from services.subtitle.fetching import base_of, fetch_file, fetch_transcript, stem_of
from services.subtitle.inputs import (
    CompareSubtitlesInput,
    ConvertSubtitlesInput,
    FixSubtitlesInput,
    GenerateSubtitleFilesInput,
    MergeInput,
    MergeSpeakerBasedSubtitlesInput,
    MergeSpeakerSegmentsInput,
    MergeWithWordTimestampsInput,
    PrepareTtsSegmentsInput,
    RebuildSubtitleInput,
    RetimingInput,
    SegmentSubtitlesInput,
)
from services.subtitle.offer import node as node
from services.subtitle.outputs import (
    CharacterLimit,
    CompareSubtitlesOutput,
    ConvertSubtitlesOutput,
    FixSubtitlesOutput,
    GenerateSubtitleFilesOutput,
    MergedOutput,
    MergeSpeakerBasedSubtitlesOutput,
    MergeSummary,
    PrepareSummary,
    PrepareTtsSegmentsOutput,
    RebuildSubtitleOutput,
    SegmentStatistics,
    SegmentSubtitlesOutput,
)
from services.subtitle.sources import Source
from services.subtitle.syncing import fetch_speech, to_report
from services.subtitle.tts_segments import SpeechLengths
from subtitles.fixes.repair import Repair
from subtitles.retiming import Retiming
from subtitles.writing import AssStyle

MAX_INLINE = 2_000
"""Segments that an output shows besides its file; a task's output may have 1 MiB."""
MAX_INLINE_BYTES = 256 * 1024
"""As JSON. Words with their times make much of few segments, and in the output's own form twice as much."""


@node.task("wservice.generate_subtitle_files", reuse_field="subtitle_path")
async def generate_subtitle_files(
    request: GenerateSubtitleFilesInput, context: TaskContext
) -> GenerateSubtitleFilesOutput:
    """Makes subtitle files of a transcript: cues that people can read, in every form asked for."""
    transcript = await fetch_transcript(request, context)
    speakers = await _optional(request.diarization_file, "/diarization_file", context)
    wanted = production.Production(
        base=base_of(request.output_filename) or stem_of(transcript, "subtitle"),
        forms=tuple(request.formats),
        language=request.language,
        audio_duration=request.audio_duration,
        limits=request.overrides(),
        resegment=request.resegment,
        speaker_prefix=request.speaker_prefix,
        karaoke=request.karaoke,
        shot_changes=tuple(request.shot_changes),
        style=AssStyle(font=request.font),
    )
    await context.progress(10, "reading")
    folder = context.output_directory("subtitles")
    made = await context.call(production.produce, transcript, speakers, folder, wanted)
    await context.progress(80, "storing")
    stored = {key: await context.store(path, name=path.name) for key, path in made.files.items()}
    speaker_json = stored.pop("speaker_json", None)
    return GenerateSubtitleFilesOutput(
        subtitle_path=stored["basic"],
        json_path=stored["json"],
        speaker_srt_path=stored.get("with_speakers"),
        speaker_json_path=speaker_json,
        subtitle_files=stored,
        total_cues=made.cues,
        audio_duration=made.duration,
        violations_before=made.violations_before,
        violations_after=made.violations_after,
    )


@node.task("wservice.merge_speaker_segments", reuse_field="merged_segments_file")
async def merge_speaker_segments(request: MergeSpeakerSegmentsInput, context: TaskContext) -> MergedOutput:
    """Gives each segment of a transcript its speaker, and cuts it where the speaker changes."""
    transcript, speakers = await _both(request, context)
    target = context.output_path("merged_segments.json")
    merged = await context.call(merging.merge_segments, transcript, speakers, target, request.max_gap)
    return await _merged(merged, target, transcript, context)


@node.task("wservice.merge_with_word_timestamps", reuse_field="merged_segments_file")
async def merge_with_word_timestamps(
    request: MergeWithWordTimestampsInput, context: TaskContext
) -> MergedOutput:
    """Gives each word of a transcript its speaker, and makes segments of what one speaker says in a row."""
    transcript, speakers = await _both(request, context)
    target = context.output_path("merged_segments.json")
    nearest = request.rule == "keep_words"
    merged = await context.call(merging.merge_words, transcript, speakers, target, nearest=nearest)
    return await _merged(merged, target, transcript, context)


@node.task("wservice.merge_speaker_based_subtitles")
async def merge_speaker_based_subtitles(
    request: MergeSpeakerBasedSubtitlesInput, context: TaskContext
) -> MergeSpeakerBasedSubtitlesOutput:
    """Gives each turn of a speaker the words that are said in it."""
    transcript, speakers = await _both(request, context)
    target = context.output_path("merged_segments.json")
    keep_all = request.rule == "keep_words"
    merged = await context.call(
        merging.merge_turns, transcript, speakers, target, request.overlap_threshold, keep_all=keep_all
    )
    empty = sum(not entry["words"] for entry in merged.entries)
    return MergeSpeakerBasedSubtitlesOutput(
        merged_segments_file=await context.store(target),
        total_segments=len(merged.entries),
        matched_segments=len(merged.entries) - empty,
        empty_segments=empty,
    )


@node.task("wservice.prepare_tts_segments", reuse_field="prepared_segments_file")
async def prepare_tts_segments(
    request: PrepareTtsSegmentsInput, context: TaskContext
) -> PrepareTtsSegmentsOutput:
    """Makes segments fit to be spoken: by one speaker, neither too short nor too long."""
    inline = {"segments_data": request.segments_data, "merged_segments": request.merged_segments}
    inline["segments"] = request.segments
    name, data = next(((key, value) for key, value in inline.items() if value is not None), ("", None))
    source = (
        Source(f"/{name}", data=data)
        if name
        else await fetch_file(request.segments_file, "/segments_file", context)
    )
    lengths = SpeechLengths(
        request.min_duration,
        request.max_duration,
        request.max_gap,
        request.split_on_punctuation,
        keep_words=request.rule == "keep_words",
    )
    target = context.output_path("prepared_segments.json")
    entries, before = await context.call(merging.prepare_segments, source, target, lengths)
    summary = PrepareSummary(
        original_segments_count=before, prepared_segments_count=len(entries), data_source=source.name
    )
    return PrepareTtsSegmentsOutput(
        prepared_segments=_inline(entries),
        prepared_segments_file=await context.store(target),
        source_stage=name or "segments_file",
        total_segments=len(entries),
        input_summary=summary,
    )


@node.task("wservice.segment_subtitles", reuse_field="segmented_subtitle_file")
async def segment_subtitles(request: SegmentSubtitlesInput, context: TaskContext) -> SegmentSubtitlesOutput:
    """Cuts a running text into sentences, and these into lines of a length."""
    words = [word.model_dump() for word in request.words]
    text = request.subtitle_text or ""
    if request.subtitle_file is not None:
        path = await context.fetch(request.subtitle_file, kind=MediaKind.DATA)
        text, words = await _queried(path, request, context)
    target = context.output_path("segmented.srt" if words else "segmented.txt")
    sentences = context.output_path("sentences.txt")
    cut = await context.call(rework.cut_text, text, words, request.max_chars, target, sentences)
    target = target if target.exists() else target.with_suffix(".txt")
    return SegmentSubtitlesOutput(
        segmented_subtitle_file=await context.store(target),
        segmented_subtitle_pysbd_file=await context.store(sentences),
        statistics=SegmentStatistics(
            pysbd_sentences=cut.sentences,
            final_segments=cut.lines,
            expansion_ratio=round(cut.lines / max(1, cut.sentences), 3),
            character_limit=CharacterLimit(
                max_allowed=request.max_chars,
                compliance_rate=round(1 - cut.over_limit / cut.lines, 4),
                over_limit_count=cut.over_limit,
            ),
            has_timestamps=cut.timed,
        ),
    )


@node.task("wservice.rebuild_subtitle_with_words", reuse_field="optimized_segments_file")
async def rebuild_subtitle_with_words(
    request: RebuildSubtitleInput, context: TaskContext
) -> RebuildSubtitleOutput:
    """Gives a text that was corrected as a whole the word times of its transcript, and cuts it into segments."""
    transcript = await fetch_transcript(request, context)
    text, field = request.optimized_text or "", "/optimized_text"
    if request.optimized_text_file is not None:
        field = "/optimized_text_file"
        path = await context.fetch(request.optimized_text_file, kind=MediaKind.TEXT)
        text = await context.call(_read_text, path)
    target = context.output_path("optimized_segments.json")
    report = context.output_path("alignment_report.json") if request.report else None
    count, ratio = await context.call(rework.rebuild, transcript, text, target, report, field)
    return RebuildSubtitleOutput(
        optimized_segments_file=await context.store(target),
        report_file=await context.store(report) if report else None,
        total_segments=count,
        alignment_ratio=round(ratio, 4),
    )


@node.task("wservice.fix_subtitles", reuse_field="fixed_subtitle_path")
async def fix_subtitles(request: FixSubtitlesInput, context: TaskContext) -> FixSubtitlesOutput:
    """Mends a subtitle file by rule: encoding, times, order, overlaps, repeats, spelling of scanners, lines."""
    source = await fetch_file(request.subtitle_path, "/subtitle_path", context, request.encoding)
    base = base_of(request.output_filename) or f"{stem_of(source, 'subtitle')}_fixed"
    forms = dict.fromkeys((request.output_format, *request.formats))
    targets = {form: context.output_path(f"{base}.{form}") for form in forms}
    report = context.output_path("fix_report.json")
    options = Repair(
        language=request.language,
        script=request.chinese,
        typos=request.typos,
        readable=request.readable,
        shot_changes=tuple(sorted(request.shot_changes)),
    )
    speech = await fetch_speech(request, context)
    done = await context.call(
        rework.repair_file,
        source,
        list(targets.values()),
        report,
        options,
        request.overrides(),
        _retiming(request),
        speech,
        speakers=request.with_speakers,
    )
    stored = {form: await context.store(path) for form, path in targets.items()}
    return FixSubtitlesOutput(
        fixed_subtitle_path=stored[request.output_format],
        subtitle_files=stored,
        report_path=await context.store(report),
        encoding=done.encoding,
        format=done.form,
        cues_before=done.cues_before,
        cues_after=done.cues_after,
        changes=done.changes,
        violations_before=done.violations_before,
        violations_after=done.violations_after,
        sync=to_report(done.sync),
    )


@node.task("wservice.convert_subtitles")
async def convert_subtitles(request: ConvertSubtitlesInput, context: TaskContext) -> ConvertSubtitlesOutput:
    """Writes a subtitle file in other forms, moved in time if asked for."""
    source = await fetch_file(request.subtitle_path, "/subtitle_path", context, request.encoding)
    base = base_of(request.output_filename) or stem_of(source, "subtitle")
    targets = {form: context.output_path(f"{base}.{form}") for form in dict.fromkeys(request.output_formats)}
    count, form, encoding = await context.call(
        rework.convert_file,
        source,
        list(targets.values()),
        _retiming(request),
        AssStyle(font=request.font),
        speakers=request.with_speakers,
    )
    stored = {name: await context.store(path) for name, path in targets.items()}
    return ConvertSubtitlesOutput(
        subtitle_path=next(iter(stored.values())),
        subtitle_files=stored,
        total_cues=count,
        format=form,
        encoding=encoding,
    )


@node.task("wservice.compare_subtitles")
async def compare_subtitles(request: CompareSubtitlesInput, context: TaskContext) -> CompareSubtitlesOutput:
    """Scores a subtitle file against one that is right: words, times, cues that are missing or made up."""
    reference = await fetch_file(request.reference_path, "/reference_path", context)
    hypothesis = await fetch_file(request.subtitle_path, "/subtitle_path", context)
    report = context.output_path("comparison.json")
    scores = await context.call(rework.compare_files, reference, hypothesis, report)
    return CompareSubtitlesOutput(report_path=await context.store(report), **scores)


def _read_text(path: Path) -> str:
    return path.read_text(encoding="utf-8-sig", errors="replace")


def _retiming(request: RetimingInput) -> Retiming:
    rate = request.rate
    if request.source_fps is not None and request.target_fps is not None:
        rate = request.source_fps / request.target_fps
    return Retiming(rate, request.offset_seconds)


async def _both(request: MergeInput, context: TaskContext) -> tuple[Source, Source]:
    transcript = await fetch_transcript(request, context)
    if request.speaker_segments_data is not None:
        return transcript, Source("/speaker_segments_data", data=request.speaker_segments_data)
    return transcript, await fetch_file(request.diarization_file, "/diarization_file", context)


async def _optional(ref: str | None, field: str, context: TaskContext) -> Source | None:
    return None if ref is None else await fetch_file(ref, field, context)


async def _queried(
    path: Path, request: SegmentSubtitlesInput, context: TaskContext
) -> tuple[str, list[dict[str, object]]]:
    found = await context.call(rework.query, path, request.text_json_path, "/text_json_path")
    text = "\n".join(map(str, found)) if isinstance(found, list) else str(found)
    words: list[dict[str, object]] = []
    for expression in filter(None, (part.strip() for part in request.words_json_path.split(","))):
        rows = await context.call(rework.query, path, expression, "/words_json_path")
        if not isinstance(rows, list):
            raise SubtitleFault(FaultCode.UNKNOWN_QUERY, f"{expression!r} finds no list", "/words_json_path")
        words += [row for row in rows if isinstance(row, dict)]
    return text, words


async def _merged(
    merged: merging.Merged, target: Path, transcript: Source, context: TaskContext
) -> MergedOutput:
    return MergedOutput(
        merged_segments_file=await context.store(target),
        merged_segments=_inline(merged.entries),
        input_summary=MergeSummary(
            transcript_segments_count=merged.transcript_segments,
            speaker_segments_count=merged.speaker_segments,
            merged_segments_count=len(merged.entries),
            data_source=transcript.name,
        ),
    )


def _inline(entries: list[dict[str, Any]]) -> list[dict[str, Any]] | None:
    """Return segments as an output shows them besides their file; None when they are too many or too much."""
    if len(entries) > MAX_INLINE or len(orjson.dumps(entries)) > MAX_INLINE_BYTES:
        return None
    return entries
