"""Transcript and speakers brought together, by the origin system's three rules and, where those lose words, a better one.

The origin's rules are what its clients' next steps count on, so they are kept to the letter; `nearest` names a speaker also for
words that lie in no turn, and keeps words that belong to no turn at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise

from services.subtitle.speakers import UNKNOWN_SPEAKER, Turn, Turns, overlap
from subtitles.cue import Cue, Word
from subtitles.segmentation import join_words, spread_words

MIN_PIECE_SECONDS = 0.1
_NO_MATCH_CONFIDENCE = 0.3
_NO_TURNS_CONFIDENCE = 0.5
_NO_WORDS_CONFIDENCE = 0.7
_NEAR_SECONDS = 1.0


def merge_by_segment(cues: Sequence[Cue], turns: Turns, max_gap: float = 0.5) -> list[Cue]:
    """Give each segment its speaker, cutting it where the speaker changes.

    Within a segment the turns of one speaker that are at most `max_gap` seconds apart are one; between two speakers the cut lies in
    the middle of the time from the one's end to the other's start; pieces shorter than 0.1 s go to their neighbour. The text is
    shared out by words where there are word times, else in proportion to time. `confidence` is the share of the piece that its
    speaker speaks; 0.3 where no turn is near, 0.5 where there are no turns at all.
    """
    merged: list[Cue] = []
    for cue in cues:
        if not len(turns):
            merged.append(replace(cue, speaker=UNKNOWN_SPEAKER, confidence=_NO_TURNS_CONFIDENCE))
            continue
        spans = _spans(cue, turns.within(cue.start, cue.end), max_gap)
        if not spans:
            merged.append(replace(cue, speaker=UNKNOWN_SPEAKER, confidence=_NO_MATCH_CONFIDENCE))
            continue
        merged += _share_out(cue, spans, turns)
    return merged


def _spans(cue: Cue, turns: Iterable[Turn], max_gap: float) -> list[Turn]:
    """Return who has which part of a segment: parts without gap or overlap, in order."""
    parts: list[Turn] = []
    for turn in turns:
        part = Turn(max(turn.start, cue.start), min(turn.end, cue.end), turn.speaker)
        if part.end - part.start < MIN_PIECE_SECONDS:
            continue
        last = parts[-1] if parts else None
        if last and last.speaker == part.speaker and part.start - last.end <= max_gap:
            parts[-1] = Turn(last.start, max(last.end, part.end), last.speaker)
        elif last and part.end <= last.end:
            continue  # somebody interjects: the one who goes on has the words
        else:
            parts.append(part)
    parts = [
        Turn(same[0].start, same[-1].end, speaker)
        for speaker, group in groupby(parts, key=lambda part: part.speaker)
        for same in [list(group)]
    ]
    edges = [cue.start, *((a.end + b.start) / 2 for a, b in pairwise(parts)), cue.end]
    spans = [Turn(edges[i], edges[i + 1], part.speaker) for i, part in enumerate(parts)]
    return _without_slivers(spans)


def _without_slivers(spans: list[Turn]) -> list[Turn]:
    kept: list[Turn] = []
    for span in spans:
        if kept and (span.end - span.start < MIN_PIECE_SECONDS or kept[-1].speaker == span.speaker):
            kept[-1] = Turn(kept[-1].start, span.end, kept[-1].speaker)
        elif kept and kept[-1].end - kept[-1].start < MIN_PIECE_SECONDS:
            kept[-1] = Turn(kept[-1].start, span.end, span.speaker)
        else:
            kept.append(span)
    return kept


def _share_out(cue: Cue, spans: Sequence[Turn], turns: Turns) -> Iterator[Cue]:
    if len(spans) == 1:
        confidence = _share(cue.start, cue.end, spans[0].speaker, turns)
        yield replace(cue, speaker=spans[0].speaker, confidence=confidence)
        return
    words = cue.words or tuple(spread_words(cue))
    places = [_place_of(word, spans) for word in words]
    for place, span in enumerate(spans):
        own = [word for word, at in zip(words, places, strict=True) if at == place]
        if not own:
            continue
        yield Cue(
            span.start,
            span.end,
            join_words(own),
            speaker=span.speaker,
            words=tuple(own) if cue.words else (),
            confidence=_share(span.start, span.end, span.speaker, turns),
        )


def _place_of(word: Word, spans: Sequence[Turn]) -> int:
    centre = (word.start + word.end) / 2
    return next((place for place, span in enumerate(spans) if centre < span.end), len(spans) - 1)


def _share(start: float, end: float, speaker: str, turns: Turns) -> float:
    spoken = sum(
        overlap(start, end, turn.start, turn.end)
        for turn in turns.within(start, end)
        if turn.speaker == speaker
    )
    return round(min(1.0, spoken / (end - start)), 3) if end > start else 0.0


def merge_by_word(cues: Sequence[Cue], turns: Turns, *, nearest: bool = False) -> list[Cue]:
    """Give each word the speaker whose turn its centre lies in, and make a segment of each run of words by one speaker.

    A word in no turn goes on with the speaker before it in its segment (the first ones: with the one after; none at all:
    SPEAKER_00); with `nearest` it goes to a turn within a second if there is one. Confidence is 1, or 0.7 for a segment without
    words, which goes to the speaker who has most of it.
    """
    merged: list[Cue] = []
    for cue in cues:
        if not cue.words:
            merged.append(replace(cue, speaker=_most(cue, turns), confidence=_NO_WORDS_CONFIDENCE))
            continue
        named = _named(cue.words, turns, nearest=nearest)
        for speaker, group in groupby(zip(cue.words, named, strict=True), key=lambda row: row[1]):
            words = tuple(replace(word, speaker=speaker) for word, _ in group)
            merged.append(
                Cue(words[0].start, words[-1].end, join_words(words), speaker, words, confidence=1.0)
            )
    return merged


def _named(words: Sequence[Word], turns: Turns, *, nearest: bool) -> list[str]:
    found: list[str | None] = []
    for word in words:
        centre = (word.start + word.end) / 2
        turn = turns.at(centre) or (turns.nearest(centre, _NEAR_SECONDS) if nearest else None)
        found.append(turn.speaker if turn else None)
    current = next((speaker for speaker in found if speaker), UNKNOWN_SPEAKER)
    named = []
    for speaker in found:
        current = speaker or current
        named.append(current)
    return named


def _most(cue: Cue, turns: Turns) -> str:
    shares: dict[str, float] = {}
    for turn in turns.within(cue.start, cue.end):
        shares[turn.speaker] = shares.get(turn.speaker, 0.0) + overlap(
            cue.start, cue.end, turn.start, turn.end
        )
    return max(shares, key=lambda speaker: shares[speaker]) if shares else UNKNOWN_SPEAKER


@dataclass(frozen=True)
class TurnText:
    """What was said in one turn."""

    turn: Turn
    words: tuple[Word, ...]
    in_range: int
    """Words that share any time with the turn."""
    full: int
    """Words that lie in it whole."""

    @property
    def text(self) -> str:
        """The words as they are written."""
        return join_words(self.words)

    @property
    def coverage(self) -> float:
        """Share of the words in range that are taken."""
        return len(self.words) / self.in_range if self.in_range else 0.0


def merge_by_turn(
    cues: Sequence[Cue], turns: Turns, overlap_threshold: float = 0.5, *, keep_all: bool = False
) -> list[TurnText]:
    """Return exactly one text for each turn: the words of which at least `overlap_threshold` (0 to 1) lies in it.

    By that rule a word may be in two turns that overlap, or in none. With `keep_all` each word is in exactly one turn: the one
    that it shares most time with, else the nearest.
    """
    words = sorted((word for cue in cues for word in cue.words), key=lambda word: word.start)
    rows = list(turns)
    taken: list[list[Word]] = [[] for _ in rows]
    in_range, full = [0] * len(rows), [0] * len(rows)
    places = {id(turn): place for place, turn in enumerate(rows)}
    for word in words:
        shares = {
            places[id(turn)]: overlap(word.start, word.end, turn.start, turn.end)
            for turn in turns.within(word.start, max(word.end, word.start + 1e-6))
        }
        length = max(word.end - word.start, 1e-6)
        for place, shared in shares.items():
            in_range[place] += 1
            full[place] += shared >= length - 1e-6
        for place in _takers(word, shares, length, turns, places, overlap_threshold, keep_all=keep_all):
            taken[place].append(word)
    return [
        TurnText(turn, tuple(taken[place]), in_range[place], full[place]) for place, turn in enumerate(rows)
    ]


def _takers(
    word: Word,
    shares: dict[int, float],
    length: float,
    turns: Turns,
    places: dict[int, int],
    threshold: float,
    *,
    keep_all: bool,
) -> list[int]:
    if not keep_all:
        return [place for place, shared in shares.items() if shared / length >= threshold]
    if shares:
        return [max(shares, key=lambda place: shares[place])]
    near = turns.nearest((word.start + word.end) / 2, float("inf"))
    return [places[id(near)]] if near else []
