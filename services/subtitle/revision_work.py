"""Before and after a revision: subtitles read and mended by rule, revised texts put back into cues and written. Runs in a
worker process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from services.subtitle.faults import FaultCode, SubtitleFault
from services.subtitle.realignment import realign
from services.subtitle.sources import Source, load_cues, load_document, write_json
from subtitles.cue import Cue
from subtitles.fixes.change import count_changes
from subtitles.fixes.repair import Repair, repair
from subtitles.measure import Limits, is_cjk, limits_for
from subtitles.revision.line import Line, flat, put_back, to_lines
from subtitles.revision.rules import apply, revise_by_rule
from subtitles.revision.scripts import base_of
from subtitles.sentences import split_sentences
from subtitles.transcript import to_entries
from subtitles.writing import to_srt

_BREAK_COLUMNS = 6
"""What a line loses, about, to the word that does not fit on it any more."""
_CJK_LANGUAGES = frozenset({"zh", "yue", "ja", "ko"})


@dataclass(frozen=True)
class Prepared:
    """What a revision begins with."""

    cues: list[Cue]
    lines: list[Line]
    """As rules have left them."""
    by_rule: dict[int, str]
    """Texts that rules have made, by id."""
    original: list[str]
    """The lines' texts before that."""
    entries_before: int
    characters_before: int
    fixes: dict[str, int]
    names_speakers: bool = False
    """Whether the texts that came in say who speaks."""


@dataclass(frozen=True)
class ByRule:
    """What rules are to do."""

    terms: tuple[str, ...] = ()
    fillers: bool = False
    repair: Repair | None = None
    """None: cues stay as they are."""


def prepare(source: Source, wanted: ByRule) -> Prepared:
    """Read subtitles or a transcript, mend what rules can. Raises SubtitleFault."""
    fixes: dict[str, int] = {}
    if wanted.repair is None:
        cues = load_cues(source)
        entries, characters = len(cues), _characters(cues)
    else:
        cues = load_document(source).cues
        if not any(cue.plain for cue in cues):
            raise SubtitleFault(FaultCode.SUBTITLE_EMPTY, f"{source.name} has no cue with text", source.field)
        entries, characters = len(cues), _characters(cues)
        cues, changes = repair(cues, wanted.repair)
        fixes = count_changes(changes)
    lines = to_lines(cues)
    by_rule = revise_by_rule(lines, terms=wanted.terms, fillers=wanted.fillers)
    return Prepared(
        cues,
        apply(lines, by_rule),
        by_rule,
        [line.text for line in lines],
        entries,
        characters,
        fixes,
        _names_speakers(source),
    )


def prepare_text(source: Source, wanted: ByRule) -> Prepared:
    """Read a transcript as one text, a line for each of its sentences. Raises SubtitleFault."""
    cues = load_cues(source)
    joint = "" if is_cjk("".join(cue.plain for cue in cues)) else " "
    text = joint.join(flat(cue.text).replace("\n", " ") for cue in cues)
    lines = [Line(number, sentence) for number, sentence in enumerate(split_sentences(text), 1)]
    by_rule = revise_by_rule(lines, terms=wanted.terms)
    original = [line.text for line in lines]
    return Prepared([], apply(lines, by_rule), by_rule, original, len(lines), len(text), {})


def prepare_translation(
    source: Source, target: str, cps: float | None, cpl: int | None, max_lines: int = 1
) -> tuple[Prepared, Limits]:
    """Read subtitles to translate; each line's room follows from its time. Raises SubtitleFault."""
    cues = load_cues(source)
    cjk = base_of(target) in _CJK_LANGUAGES
    limits = replace(
        limits_for(["字" if cjk else "a"]),
        line_columns=cpl or (16 if cjk else 42),
        columns_per_second=cps or (11 if cjk else 18),
    )
    # A line ends at a word, so that two of them do not hold twice as much.
    room = limits.line_columns + (max_lines - 1) * (limits.line_columns - (1 if cjk else _BREAK_COLUMNS))
    budgets = [float(max(1, min(int(cue.duration * limits.columns_per_second), int(room)))) for cue in cues]
    lines = to_lines(cues, budgets)
    texts = [line.text for line in lines]
    named = _names_speakers(source)
    return Prepared(cues, lines, {}, texts, len(cues), _characters(cues), {}, named), limits


def _names_speakers(source: Source) -> bool:
    return load_document(source).names_speakers


def read_prompt(path: Path) -> str:
    """Return what a text file tells a model."""
    return path.read_text(encoding="utf-8-sig", errors="replace").strip()


def _characters(cues: Sequence[Cue]) -> int:
    return sum(len(cue.plain) for cue in cues)


def write_corrected(
    prepared: Prepared, texts: Mapping[int, str], target: Path, report: Path, detail: dict[str, Any]
) -> int:
    """Write cues with their texts as SRT, and the report; returns how many letters they have."""
    cues = revised_cues(prepared.cues, texts)
    target.write_text(to_srt(cues, speakers=prepared.names_speakers), encoding="utf-8")
    write_json(report, detail)
    return _characters(cues)


def write_optimized(
    prepared: Prepared,
    texts: Mapping[int, str],
    target: Path,
    report: Path,
    detail: dict[str, Any],
    document: dict[str, Any],
) -> None:
    """Write cues with their texts as the origin's JSON `{metadata, subtitles, optimization_stats}`, and the report."""
    cues = revised_cues(prepared.cues, texts)
    write_json(target, {**document, "subtitles": to_entries(cues)})
    write_json(report, detail)


def write_text(
    prepared: Prepared, texts: Mapping[int, str], target: Path, report: Path, detail: dict[str, Any]
) -> None:
    """Write the sentences as one text, and the report."""
    sentences = [texts[line.id] for line in prepared.lines]
    joint = "" if is_cjk("".join(sentences)) else " "
    target.write_text(joint.join(sentences) + "\n", encoding="utf-8")
    write_json(report, detail)


def write_translated(
    prepared: Prepared,
    texts: Mapping[int, str],
    targets: tuple[Path, Path, Path],
    detail: dict[str, Any],
    metadata: dict[str, Any],
    limits: Limits,
    *,
    bilingual: bool,
) -> None:
    """Write cues with their translations as JSON and SRT, and the report. Words are gone: they are of the other language."""
    cues = []
    for cue, line in zip(prepared.cues, prepared.lines, strict=True):
        text = texts[line.id]
        translated = put_back(cue, text, limits, cjk=is_cjk(text))
        if bilingual and text != line.text:
            cues.append(replace(cue, translation=translated.text, words=()))
        else:
            cues.append(replace(translated, words=()))
    document, subtitle, report = targets
    write_json(document, {"metadata": metadata, "translated_segments": to_entries(cues)})
    subtitle.write_text(to_srt(cues, speakers=prepared.names_speakers), encoding="utf-8")
    write_json(report, detail)


def revised_cues(cues: Sequence[Cue], texts: Mapping[int, str]) -> list[Cue]:
    """Return cues at their own times with the texts of their ids, from 1; words of a text that changed get their times again."""
    plain = "".join(cue.plain for cue in cues)
    cjk, limits = is_cjk(plain), limits_for([plain])
    result = []
    for number, cue in enumerate(cues, 1):
        made = put_back(cue, texts[number], limits, cjk=cjk)
        if made is not cue and cue.words:
            made = replace(made, words=tuple(realign(cue.words, texts[number]).words))
        result.append(made)
    return result
