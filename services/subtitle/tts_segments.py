"""Segments fit to be spoken: by one speaker, neither too short to sound natural nor too long for a speech engine."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from subtitles.cue import Cue, Word
from subtitles.line_breaking import CLAUSE_END, SENTENCE_END
from subtitles.segmentation import join_words, spread_words


@dataclass(frozen=True)
class SpeechLengths:
    """How long a segment may be, in seconds."""

    min_seconds: float = 3.0
    max_seconds: float = 10.0
    max_gap_seconds: float = 1.0
    """Segments of one speaker that are no farther apart are merged."""
    split_on_punctuation: bool = False
    """Whether every sentence becomes a segment, also in those that are short enough."""
    keep_words: bool = False
    """The origin's rule tags the parts of a long segment without word times `[SPLIT i/n]`, each with the whole text, and drops what
    stays too short. With this the text is shared out and nothing is dropped."""


def prepare(cues: Iterable[Cue], lengths: SpeechLengths) -> list[Cue]:
    """Return segments to speak, in order of time."""
    ordered = sorted((cue for cue in cues if cue.plain), key=lambda cue: (cue.start, cue.end))
    merged = _merge_close(ordered, lengths)
    split = [piece for cue in merged for piece in _split(cue, lengths)]
    joined = _merge_short(split, lengths)
    if lengths.keep_words:
        return joined
    return [cue for cue in joined if cue.duration >= lengths.min_seconds - 1e-6]


def _merge_close(cues: Sequence[Cue], lengths: SpeechLengths) -> list[Cue]:
    merged: list[Cue] = []
    for cue in cues:
        last = merged[-1] if merged else None
        close = (
            last is not None
            and last.speaker == cue.speaker
            and cue.start - last.end <= lengths.max_gap_seconds
        )
        if last is not None and close and cue.end - last.start <= lengths.max_seconds:
            merged[-1] = join(last, cue)
        else:
            merged.append(cue)
    return merged


def join(first: Cue, second: Cue) -> Cue:
    """Return one segment of two that follow each other."""
    words = first.words + second.words if first.words and second.words else ()
    gap = "" if first.text[-1:] > "\u2e80" and second.text[:1] > "\u2e80" else " "
    return replace(first, end=max(first.end, second.end), text=f"{first.text}{gap}{second.text}", words=words)


def _split(cue: Cue, lengths: SpeechLengths) -> Iterator[Cue]:
    if cue.duration <= lengths.max_seconds and not lengths.split_on_punctuation:
        yield cue
        return
    if not cue.words and not lengths.keep_words and cue.duration > lengths.max_seconds:
        yield from _tagged(cue, math.ceil(cue.duration / lengths.max_seconds))
        return
    words = cue.words or tuple(spread_words(cue))
    for group in _groups(words, lengths):
        yield Cue(
            group[0].start,
            group[-1].end,
            join_words(group),
            cue.speaker,
            tuple(group) if cue.words else (),
            cue.confidence,
        )


def _tagged(cue: Cue, count: int) -> Iterator[Cue]:
    """Give equal parts as the origin does."""
    step = cue.duration / count
    for number in range(count):
        start = cue.start + number * step
        yield replace(cue, start=start, end=start + step, text=f"{cue.text} [SPLIT {number + 1}/{count}]")


def _groups(words: Sequence[Word], lengths: SpeechLengths) -> Iterator[list[Word]]:
    """Cut words into groups of at most the length: at the best mark in the last half of each, a sentence's end before a
    clause's.
    """
    group: list[Word] = []
    for word in words:
        if group and word.end - group[0].start > lengths.max_seconds:
            place = _best_cut(group, lengths)
            yield group[:place]
            group = group[place:]
        group.append(word)
        if lengths.split_on_punctuation and _ends_with(word, SENTENCE_END):
            yield group
            group = []
    if group:
        yield group


def _best_cut(group: Sequence[Word], lengths: SpeechLengths) -> int:
    half = group[0].start + lengths.max_seconds / 2
    for marks in (SENTENCE_END, CLAUSE_END):
        places = [n + 1 for n, word in enumerate(group) if word.end >= half and _ends_with(word, marks)]
        if places:
            return places[-1]
    return len(group)


def _ends_with(word: Word, marks: str) -> bool:
    return word.text.rstrip().rstrip("\"'”’」』)")[-1:] in tuple(marks)


def _merge_short(cues: Sequence[Cue], lengths: SpeechLengths) -> list[Cue]:
    """Join short segments with the one after them, or before them, by the same speaker, if both fit together."""
    result: list[Cue] = []
    for cue in cues:
        last = result[-1] if result else None
        short = cue.duration < lengths.min_seconds or (
            last is not None and last.duration < lengths.min_seconds
        )
        if (
            last is not None
            and short
            and last.speaker == cue.speaker
            and cue.end - last.start <= lengths.max_seconds
            and cue.start - last.end <= max(lengths.max_gap_seconds, lengths.min_seconds)
        ):
            result[-1] = join(last, cue)
        else:
            result.append(cue)
    return result
