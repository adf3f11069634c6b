"""Subtitles read, changed and written again: repair, conversion, comparison, rebuilding, cutting into lines. Runs in a worker
process.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jmespath
import orjson
from jmespath.exceptions import JMESPathError

from services.subtitle.faults import FaultCode, SubtitleFault
from services.subtitle.realignment import realign
from services.subtitle.sources import Source, load_cues, load_document, need_words, write_json
from services.subtitle.speech import Speech
from subtitles.cue import Cue, Word
from subtitles.fixes.change import count_changes
from subtitles.fixes.repair import Repair, repair
from subtitles.measure import Limits, is_cjk, limits_for
from subtitles.readability import count_kinds, find_violations
from subtitles.retiming import Retiming, retime
from subtitles.score import compare, middle, percentile
from subtitles.segmentation import segment, spread_words
from subtitles.sentences import lines_of, split_sentences
from subtitles.sync import Sync, TooMuch
from subtitles.timing import settle
from subtitles.transcript import to_entries, to_words
from subtitles.writing import WRITERS, AssStyle, to_ass

REBUILD_LIMITS = Limits(line_columns=42, lines=1, columns_per_second=18, min_seconds=1.0, max_seconds=7.0)
"""The origin's limits for rebuilt subtitles."""
MIN_ALIGNMENT = 0.5
_MAX_CHANGES_LISTED = 2000


@dataclass(frozen=True)
class Repaired:
    """What a repair did."""

    cues_before: int
    cues_after: int
    encoding: str
    form: str
    changes: dict[str, int]
    violations_before: dict[str, int]
    violations_after: dict[str, int]
    sync: Sync | None


def repair_file(
    source: Source,
    targets: Sequence[Path],
    report: Path,
    options: Repair,
    limits: dict[str, float],
    retiming: Retiming,
    speech: Speech | None = None,
    *,
    speakers: bool | None = None,
) -> Repaired:
    """Write mended files in the forms of the targets' extensions, and a report of every change. Raises SubtitleFault.

    `speakers`: whether texts say who speaks; None: where those of the source do.
    """
    document = load_document(source)
    if not any(cue.plain for cue in document.cues):
        raise SubtitleFault(FaultCode.SUBTITLE_EMPTY, f"{source.name} has no cue with text", source.field)
    texts = "".join(cue.plain for cue in document.cues)
    cjk = is_cjk(texts)
    bounds = limits_for([texts]).overridden(limits)
    options = replace(options, limits=bounds, move=speech.move if speech is not None else None)
    try:
        cues, changes = repair(retime(document.cues, retiming), options)
    except TooMuch as error:
        raise SubtitleFault(FaultCode.TOO_MANY_CUES, str(error), "/sync_reach") from None
    for target in targets:
        write_cues(cues, target, speakers=document.names_speakers if speakers is None else speakers)
    before, after = (count_kinds(find_violations(side, bounds, cjk=cjk)) for side in (document.cues, cues))
    write_json(
        report,
        {
            "encoding": document.encoding,
            "form": document.form,
            "characters_not_decoded": document.replaced,
            "changes": [change.to_json() for change in changes[:_MAX_CHANGES_LISTED]],
            "changes_by_kind": count_changes(changes),
            "violations_before": before,
            "violations_after": after,
            "sync": speech.to_json() if speech is not None else None,
        },
    )
    return Repaired(
        len(document.cues),
        len(cues),
        document.encoding,
        document.form,
        count_changes(changes),
        before,
        after,
        speech.found if speech is not None else None,
    )


def write_cues(
    cues: Sequence[Cue], target: Path, style: AssStyle | None = None, *, speakers: bool = False
) -> None:
    """Write a file in the form of its extension; `json` is YiVideo's."""
    form = target.suffix.lstrip(".")
    if form == "json":
        write_json(target, {"segments": to_entries(cues)})
    elif form == "ass":
        target.write_text(to_ass(cues, style), encoding="utf-8")
    elif form in ("srt", "vtt", "txt"):
        target.write_text(WRITERS[form](cues, speakers=speakers), encoding="utf-8")  # type: ignore[call-arg]
    else:
        target.write_text(WRITERS[form](cues), encoding="utf-8")


def convert_file(
    source: Source, targets: Sequence[Path], retiming: Retiming, style: AssStyle, *, speakers: bool
) -> tuple[int, str, str]:
    """Write the cues as they are in other forms; returns their number, and the form and encoding that they had."""
    document = load_document(source)
    if not document.cues:
        raise SubtitleFault(FaultCode.SUBTITLE_EMPTY, f"{source.name} has no cue", source.field)
    cues = retime(document.cues, retiming)
    for target in targets:
        write_cues(cues, target, style, speakers=speakers)
    return len(cues), document.form, document.encoding


def compare_files(reference: Source, hypothesis: Source, report: Path) -> dict[str, Any]:
    """Return the scores of one file against another, and write them with every unmatched cue."""
    wanted, given = load_cues(reference), load_document(hypothesis).cues
    score = compare(wanted, given)
    errors = (*score.start_errors, *score.end_errors)
    summary: dict[str, Any] = {
        "reference_cues": len(wanted),
        "hypothesis_cues": len(given),
        "matched": score.matched,
        "exact": score.exact,
        "missed": len(score.missed),
        "phantom": len(score.phantom),
        "cer": round(score.cer, 6),
        "wer": round(score.wer, 6),
        "start_error_p50": middle(score.start_errors),
        "start_error_p95": percentile(score.start_errors, 0.95),
        "end_error_p50": middle(score.end_errors),
        "end_error_p95": percentile(score.end_errors, 0.95),
        "error_max": max(map(abs, errors), default=None),
    }
    detail = {
        "missed_cues": to_entries(wanted[place] for place in score.missed),
        "phantom_cues": to_entries(given[place] for place in score.phantom),
    }
    write_json(report, {**summary, **detail})
    return summary


def rebuild(
    transcript: Source, text: str, target: Path, report: Path | None, field: str
) -> tuple[int, float]:
    """Write segments of a corrected text with the transcript's times; returns their number and the share of tokens that stayed.

    Raises SubtitleFault: NO_WORD_TIMES, or ALIGNMENT_TOO_WEAK below a half.
    """
    cues = load_cues(transcript)
    need_words(cues, transcript)
    words = [word for cue in cues for word in (cue.words or tuple(spread_words(cue)))]
    aligned = realign(words, text)
    if aligned.ratio < MIN_ALIGNMENT:
        message = f"the text and the transcript have {aligned.ratio:.0%} in common; at least {MIN_ALIGNMENT:.0%} is needed"
        raise SubtitleFault(FaultCode.ALIGNMENT_TOO_WEAK, message, field)
    whole = Cue(aligned.words[0].start, aligned.words[-1].end, text, words=tuple(aligned.words))
    cjk = is_cjk(text)
    limits = replace(REBUILD_LIMITS, line_columns=16, columns_per_second=11) if cjk else REBUILD_LIMITS
    rebuilt = settle(segment([whole], limits), limits, cjk=cjk)
    write_json(target, {"segments": to_entries(rebuilt)})
    if report is not None:
        tokens = {"transcript": len(words), "text": len(aligned.words), "kept": aligned.kept}
        write_json(report, {"alignment_ratio": round(aligned.ratio, 4), "tokens": tokens})
    return len(rebuilt), aligned.ratio


@dataclass(frozen=True)
class Lines:
    """A text cut into lines."""

    sentences: int
    lines: int
    over_limit: int
    timed: bool


def cut_text(
    text: str, words: Sequence[dict[str, Any]], max_chars: int, target: Path, sentence_target: Path
) -> Lines:
    """Write a text line by line (SRT when words give times, else plain), and its sentences.

    Raises SubtitleFault (SUBTITLE_EMPTY).
    """
    lines = list(lines_of(text, max_chars))
    if not lines:
        raise SubtitleFault(FaultCode.SUBTITLE_EMPTY, "the text is empty", "/subtitle_text")
    sentences = split_sentences(text)
    timed = to_words(words)
    sentence_target.write_text("\n".join(sentences) + "\n", encoding="utf-8")
    if timed:
        target = target.with_suffix(".srt")
        write_cues(_timed(lines, timed), target)
    else:
        target.write_text("\n".join(lines) + "\n", encoding="utf-8")
    over = sum(len(line) > max_chars for line in lines)
    return Lines(len(sentences), len(lines), over, bool(timed))


def _timed(lines: Sequence[str], words: Sequence[Word]) -> list[Cue]:
    """Give each line the time of its words."""
    aligned = realign(words, " ".join(lines)).words
    cues, place = [], 0
    for line in lines:
        letters = _letters(line)
        start, taken = place, 0
        while place < len(aligned) and taken < letters:
            taken += _letters(aligned[place].text)
            place += 1
        own = aligned[start:place]
        if own:
            cues.append(Cue(own[0].start, max(own[-1].end, own[0].start + 0.001), line, words=tuple(own)))
    return cues


def _letters(text: str) -> int:
    return sum(not character.isspace() for character in text)


def query(path: Path, expression: str, field: str) -> Any:
    """Return what a JMESPath expression finds in a JSON file. Raises SubtitleFault (UNKNOWN_QUERY, SUBTITLE_UNREADABLE)."""
    try:
        document = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError:
        raise SubtitleFault(
            FaultCode.SUBTITLE_UNREADABLE, f"{path.name} is no JSON", "/subtitle_file"
        ) from None
    try:
        found = jmespath.search(expression, document)
    except JMESPathError as error:
        raise SubtitleFault(
            FaultCode.UNKNOWN_QUERY, f"{expression!r} is no JMESPath: {error}", field
        ) from None
    if found is None:
        raise SubtitleFault(FaultCode.UNKNOWN_QUERY, f"{expression!r} finds nothing in {path.name}", field)
    return found
