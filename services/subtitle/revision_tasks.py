"""The tasks that have texts revised: corrected, optimized, translated. Rules first, a model where one is to be had, and no
harm by it.
"""

from __future__ import annotations

import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from language_models import FaultCode as ModelFaultCode
from language_models import ModelFault, configured, lacking, llm_settings, open_model
from nodekit import MediaKind, TaskContext, TaskFailed
from services.subtitle import revision_work
from services.subtitle.fetching import fetch_file, fetch_transcript, stem_of
from services.subtitle.offer import node
from services.subtitle.reviser import Reviser, Use, begin
from services.subtitle.revision_inputs import (
    AiOptimizeSubtitlesInput,
    AiOptimizeTextInput,
    CorrectSubtitlesInput,
    ModelInput,
    TranslateSubtitlesInput,
)
from services.subtitle.revision_outputs import (
    AiOptimizeSubtitlesOutput,
    AiOptimizeTextOutput,
    CorrectionStatistics,
    CorrectSubtitlesOutput,
    OptimizationStatistics,
    Revised,
    TranslateSubtitlesOutput,
)
from services.subtitle.revision_work import ByRule, Prepared
from subtitles.fixes.repair import Repair
from subtitles.revision.asking import Asking, Correction, Optimization, Translating
from subtitles.revision.report import report, summary
from subtitles.revision.revision import Revision
from subtitles.revision.translating import Translation

_MAX_INSTRUCTIONS = 4000


@dataclass(frozen=True)
class _Result:
    """What a revision came to."""

    revision: Revision
    provider: str
    use: Use
    texts: dict[int, str]
    revised: Revised
    detail: dict[str, Any]


@node.task("wservice.correct_subtitles", timeout_seconds=7200, reuse_field="corrected_subtitle_path")
async def correct_subtitles(request: CorrectSubtitlesInput, context: TaskContext) -> CorrectSubtitlesOutput:
    """Corrects subtitles by rule and by a language model that can change no time, no order and no number of cues."""
    wanted = request.subtitle_correction
    if not wanted.enabled:
        context.skipped = True
        return CorrectSubtitlesOutput(
            corrected_subtitle_path=None, original_subtitle_path=request.subtitle_path, provider_used=""
        )
    began = time.monotonic()
    source = await fetch_file(request.subtitle_path, "/subtitle_path", context)
    by_rule = ByRule(
        terms=tuple(request.terms),
        repair=Repair(language=request.language, typos=request.typos, readable=False)
        if request.fix
        else None,
    )
    prepared = await context.call(revision_work.prepare, source, by_rule)
    asking = Correction(request.language, request.instructions, tuple(request.terms))
    result = await _revise(prepared, asking, wanted, context)
    target = context.output_path(f"{stem_of(source, 'subtitle')}_corrected_by_ai.srt")
    report_path = context.output_path("correction_report.json")
    characters = await context.call(
        revision_work.write_corrected, prepared, result.texts, target, report_path, result.detail
    )
    return CorrectSubtitlesOutput(
        corrected_subtitle_path=await context.store(target),
        original_subtitle_path=request.subtitle_path,
        provider_used=result.provider,
        statistics=CorrectionStatistics(
            original_entries=prepared.entries_before,
            corrected_entries=len(prepared.cues),
            original_characters=prepared.characters_before,
            corrected_characters=characters,
            processing_time=round(time.monotonic() - began, 3),
            provider=result.provider,
        ),
        report_path=await context.store(report_path),
        revised=result.revised,
        fixes=prepared.fixes,
        use=result.use.to_output(),
    )


@node.task("wservice.ai_optimize_subtitles", timeout_seconds=7200, reuse_field="optimized_file_path")
async def ai_optimize_subtitles(
    request: AiOptimizeSubtitlesInput, context: TaskContext
) -> AiOptimizeSubtitlesOutput:
    """Optimizes a transcript by the commands MOVE, UPDATE, DELETE and PUNCTUATE, each carried out only where it can do no harm."""
    wanted = request.subtitle_optimization
    source = await fetch_transcript(request, context)
    if not wanted.enabled:
        context.skipped = True
        return AiOptimizeSubtitlesOutput(
            optimized_file_path=None, original_file_path=source.name, provider_used=""
        )
    began = time.monotonic()
    by_rule = ByRule(terms=tuple(request.terms), fillers=True)
    prepared = await context.call(revision_work.prepare, source, by_rule)
    asking = Optimization(request.language, request.instructions, tuple(request.terms))
    result = await _revise(prepared, asking, wanted, context)
    commands: Counter[str] = asking.applied
    rate = round(result.revised.changed / max(1, result.revised.lines), 4)
    statistics = OptimizationStatistics(total_commands=commands.total(), optimization_rate=rate)
    target = context.output_path(f"{stem_of(source, 'transcript')}_optimized.json")
    report_path = context.output_path("optimization_report.json")
    metadata = {"provider": result.provider, "model": result.use.model, "source": source.name}
    document = {"metadata": metadata, "optimization_stats": statistics.model_dump() | dict(commands)}
    await context.call(
        revision_work.write_optimized, prepared, result.texts, target, report_path, result.detail, document
    )
    return AiOptimizeSubtitlesOutput(
        optimized_file_path=await context.store(target),
        original_file_path=source.name,
        provider_used=result.provider,
        processing_time=round(time.monotonic() - began, 3),
        subtitles_count=len(prepared.cues),
        commands_applied=commands.total(),
        commands_by_kind=dict(commands),
        batch_mode=result.revised.batches > 1,
        batches_count=result.revised.batches,
        statistics=statistics,
        report_path=await context.store(report_path),
        revised=result.revised,
        use=result.use.to_output(),
    )


@node.task("wservice.ai_optimize_text", timeout_seconds=7200, reuse_field="optimized_text_file")
async def ai_optimize_text(request: AiOptimizeTextInput, context: TaskContext) -> AiOptimizeTextOutput:
    """Corrects a transcript's whole text, sentence by sentence, without losing a word of it."""
    source = await fetch_transcript(request, context)
    style = request.system_prompt_override + await _prompt_file(request.prompt_file_path, context)
    prepared = await context.call(revision_work.prepare_text, source, ByRule(terms=tuple(request.terms)))
    asking = Correction(request.language, style, tuple(request.terms))
    result = await _revise(prepared, asking, request, context)
    target = context.output_path(f"{stem_of(source, 'transcript')}_optimized.txt")
    report_path = context.output_path("optimization_report.json")
    await context.call(revision_work.write_text, prepared, result.texts, target, report_path, result.detail)
    return AiOptimizeTextOutput(
        optimized_text_file=await context.store(target),
        provider_used=result.provider,
        report_path=await context.store(report_path),
        revised=result.revised,
        use=result.use.to_output(),
    )


@node.task(
    "wservice.translate_subtitles",
    timeout_seconds=7200,
    reuse_field="translated_segments_file",
    lacking=lacking,
    lacking_unless=("model",),
)
async def translate_subtitles(
    request: TranslateSubtitlesInput, context: TaskContext
) -> TranslateSubtitlesOutput:
    """Translates subtitles line by line, each in the room that its time gives it; times, order and number stay."""
    if request.provider == "rules":
        message = "rules alone cannot translate; name a provider of language models"
        raise TaskFailed(ModelFaultCode.FAILED_PRECONDITION, message, field="/provider")
    source = await fetch_transcript(request, context)
    source_language = "" if request.source_language == "auto" else request.source_language
    style = request.style + await _prompt_file(request.prompt_file_path, context)
    prepared, limits = await context.call(
        revision_work.prepare_translation,
        source,
        request.target_language,
        request.cps_limit,
        request.cpl_limit,
        request.max_lines,
    )
    asking = Translating(Translation(request.target_language, source_language, request.glossary), style)
    result = await _revise(prepared, asking, request, context, needs_model=True)
    if request.on_failure == "fail":
        _refuse_none(result)
    stem = f"{stem_of(source, 'subtitle')}.{request.target_language}"
    names = (f"{stem}.json", f"{stem}.srt", "translation_report.json")
    document, subtitle, report_path = (context.output_path(name) for name in names)
    metadata = {
        "source_language": request.source_language,
        "target_language": request.target_language,
        "provider": result.provider,
        "model": result.use.model,
        "total_segments": len(prepared.cues),
    }
    await context.call(
        revision_work.write_translated,
        prepared,
        result.texts,
        (document, subtitle, report_path),
        result.detail,
        metadata,
        limits,
        bilingual=request.bilingual,
    )
    return TranslateSubtitlesOutput(
        translated_segments_file=await context.store(document),
        translated_subtitle_path=await context.store(subtitle),
        provider_used=result.provider,
        report_path=await context.store(report_path),
        revised=result.revised,
        untranslated=sum(number not in result.revision.texts for number in result.revision.refused),
        use=result.use.to_output(),
    )


def _refuse_none(result: _Result) -> None:
    """Raise TaskFailed for a translation of which not one line came out: a file of the old texts would be called one."""
    if result.revision.refused and not result.revision.texts:
        reasons = ", ".join(f"{name} {count}" for name, count in result.revised.refused_by_reason.items())
        message = f"the language model {result.provider} translated none of {result.revised.lines} lines ({reasons})"
        raise TaskFailed(ModelFaultCode.ANSWER_INVALID, message)


async def _prompt_file(ref: str | None, context: TaskContext) -> str:
    """Return what a prompt file says. Raises TaskFailed when it is longer than a prompt may be."""
    if ref is None:
        return ""
    path = await context.fetch(ref, kind=MediaKind.TEXT)
    text: str = await context.call(revision_work.read_prompt, path)
    if len(text) > _MAX_INSTRUCTIONS:
        message = f"the prompt has {len(text)} characters; at most {_MAX_INSTRUCTIONS} are sent"
        raise TaskFailed("INVALID_INPUT", message, field="/prompt_file_path")
    return f"\n{text}" if text else ""


async def _revise(
    prepared: Prepared, asking: Asking, wanted: ModelInput, context: TaskContext, *, needs_model: bool = False
) -> _Result:
    """Have the lines revised. Raises TaskFailed: FAILED_PRECONDITION, or the model's fault when the task is to fail then."""
    await context.progress(10, "revising")
    revision, resumed, fingerprint = begin(prepared.lines, wanted, context, asking)
    use, provider = Use(), "rules"
    rules_alone = wanted.provider == "rules" or (
        wanted.provider == "auto" and not needs_model and not configured(llm_settings())
    )
    if not rules_alone:
        try:
            async with AsyncExitStack() as stack:
                model = await stack.enter_async_context(
                    open_model(context.user, wanted.provider, wanted.model)
                )
                provider, use.currency = model.name, llm_settings().currency
                await Reviser(revision, asking, model, context, wanted, fingerprint, use).run()
        except ModelFault as fault:
            raise TaskFailed(fault.code, fault.message, fault.retryable, fault.field) from None
    texts = {line.id: revision.text_of(line) for line in prepared.lines}
    changed = sum(
        texts[line.id] != before for line, before in zip(prepared.lines, prepared.original, strict=True)
    )
    figures = summary(revision) | {"changed": changed}
    figures.pop("unchanged")
    revised = Revised(**figures, changed_by_rule=len(prepared.by_rule), resumed=resumed)
    before = dict(zip((line.id for line in prepared.lines), prepared.original, strict=True))
    by_rule = [
        {"id": number, "before": before[number], "after": text} for number, text in prepared.by_rule.items()
    ]
    detail = {
        "provider": provider,
        "use": use.to_output().model_dump(),
        "revised": revised.model_dump(),
        "changes_by_rule": by_rule[:2000],
        **{key: value for key, value in report(revision).items() if key in ("changes", "refusals")},
    }
    return _Result(revision, provider, use, texts, revised, detail)
