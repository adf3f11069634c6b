"""Words with times become cues that people can read.

Words are first cut into runs, which no cue may cross: at pauses and where the speaker changes. Within a run all ways to cut are
weighed at once (dynamic programming): cues that end where a sentence or clause does, that are neither hurried nor too short,
and that are not many. Nothing is dropped: joined together the cues have every word, in order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, pairwise
from operator import add

from subtitles.cue import Cue, Word
from subtitles.line_breaking import break_lines, place_cost, split_pieces
from subtitles.measure import Limits, columns, is_cjk, is_wide, limits_for

_MAX_WORDS_IN_CUE = 60
_NEVER = float("inf")
_CUE_COST = 1.2
"""What one more cue costs: about as much as a cut in the middle of a phrase, so that whole clauses stay together."""


def segment(cues: Iterable[Cue], limits: Limits | None = None) -> list[Cue]:
    """Return readable cues of a transcript's segments, in order of time, lines broken, words kept.

    Segments without word times get times in proportion to their letters. Cues are as long as they are spoken: `timing.settle` gives
    readers the time that is there.
    """
    source = [cue for cue in cues if cue.plain]
    limits = limits or limits_for(cue.plain for cue in source)
    words = sorted((word for cue in source for word in _words_of(cue)), key=lambda word: word.start)
    cjk = is_cjk("".join(word.text for word in words))
    return [
        _to_cue(piece, limits, cjk=cjk)
        for run in _runs(words, limits)
        for piece in _cut(run, limits, cjk=cjk)
    ]


def _words_of(cue: Cue) -> Iterator[Word]:
    """Give a segment's words, each with the segment's speaker; made from its text where it has none or they say something else."""
    words = cue.words
    if not words or not _same_letters("".join(word.text for word in words), cue.plain):
        words = tuple(spread_words(cue))
    spaced = any(word.text[:1].isspace() for word in words)
    for number, word in enumerate(words):
        text = word.text
        if not text.strip():
            continue
        # Segments are separate texts: the first word of one has no space that would part it from the segment before.
        if (number == 0 or not spaced) and not text[0].isspace() and not is_wide(text[0]):
            text = f" {text}"
        yield Word(word.start, word.end, text, word.probability, word.speaker or cue.speaker)


def _same_letters(one: str, other: str) -> bool:
    return one.strip() == other or _letters(one) == _letters(other)


def _letters(text: str) -> str:
    return "".join(character for character in text.casefold() if character.isalnum())


def spread_words(cue: Cue) -> Iterator[Word]:
    """Give the words of a text, with times in proportion to their letters: a guess, for texts that came without."""
    pieces = split_pieces(cue.plain.replace("\n", " "))
    total = sum(len(text) for text, _ in pieces)
    clock, lead = cue.start, ""
    for text, gap in pieces:
        end = clock + cue.duration * len(text) / total if total else cue.end
        yield Word(clock, max(clock, end), lead + text, None, cue.speaker)
        clock, lead = end, gap


def join_words(words: Sequence[Word]) -> str:
    """Return the text of words as they are written, each with its own space before it."""
    return "".join(word.text for word in words).strip()


def _runs(words: Sequence[Word], limits: Limits) -> Iterator[list[Word]]:
    """Give runs of words by one speaker without a pause, in order of their start.

    Speakers who talk at the same time (on channels of their own) have a run each; one who speaks between two words of another
    ends that one's run.
    """
    open_runs: dict[str | None, list[Word]] = {}
    closed: list[list[Word]] = []
    for word in words:
        for speaker, run in list(open_runs.items()):
            own = speaker == word.speaker
            paused = word.start - run[-1].end >= limits.pause_seconds
            if paused or (own and _interrupted(run[-1], word, open_runs)):
                closed.append(open_runs.pop(speaker))
        open_runs.setdefault(word.speaker, []).append(word)
    closed += open_runs.values()
    yield from sorted(closed, key=lambda run: run[0].start)


def _interrupted(before: Word, after: Word, open_runs: dict[str | None, list[Word]]) -> bool:
    return len(open_runs) > 1 and any(_between(before, after, other[-1]) for other in open_runs.values())


def _between(before: Word, after: Word, other: Word) -> bool:
    return other is not before and before.end <= other.start and other.end <= after.start + 1e-6


def _cut(run: list[Word], limits: Limits, *, cjk: bool) -> Iterator[list[Word]]:
    """Give the pieces of a run, cut where it costs least.

    This is the inner loop of the room, over every start and every end that it can have, so that it is written out and asks nothing
    twice. Lines are filled greedily here, which needs no more of them than any other way does.
    """
    total = len(run)
    texts = [word.text.strip() for word in run]
    space = [_space_before(word, cjk=cjk) for word in run]
    # Columns of all words before each, with the space before each: widths are multiples of a half, so that sums are exact.
    until = list(accumulate(map(add, space, (columns(text, cjk=cjk) for text in texts)), initial=0.0))
    stops = _stops(until, space, limits)
    cuts = [*(_cut_cost(run, texts, place) for place in range(1, total)), 0.0]
    starts, ends = [word.start for word in run], [word.end for word in run]
    nexts = [*starts[1:], ends[-1] + limits.min_seconds]
    best, before = [0.0] + [_NEVER] * total, [0] * (total + 1)
    capacity, shortest, longest = limits.capacity, limits.min_seconds, limits.max_seconds
    columns_per_second = limits.columns_per_second
    for start in range(total):
        began, so_far, shown = starts[start], best[start] + _CUE_COST, until[start] + space[start]
        for end in range(start, stops[start]):
            if ends[end] - began > longest and end > start:
                break
            cost = so_far + cuts[end]
            if cost >= best[end + 1]:  # what is still to be added is no less than nothing
                continue
            width = until[end + 1] - shown
            share = width / capacity
            cost += 0.4 * (share * share)
            room = nexts[end] - began
            if room < shortest:
                cost += 3.0 * (shortest - room) / shortest
            if width > columns_per_second * room:
                cost += 2.0 * (width / (columns_per_second * max(room, 0.05)) - 1)
            if cost < best[end + 1]:
                best[end + 1], before[end + 1] = cost, start
    yield from _pieces(run, before)


def _stops(until: list[float], space: list[float], limits: Limits) -> list[int]:
    """Return for each word the first one that no cue beginning with it holds: its lines are full then.

    `until` are the columns before each word, `space` those right before it, which a line's first word has not. A word longer than a
    line has one of its own.
    """
    total = len(space)
    breaks, end = [], 0
    for start in range(total):
        end = max(end, start + 1)
        while end < total and until[end + 1] - until[start] - space[start] <= limits.line_columns:
            end += 1
        breaks.append(end)
    breaks.append(total)
    stops = list(range(total))
    for _ in range(limits.lines):
        stops = [breaks[stop] for stop in stops]
    return [min(stop, start + _MAX_WORDS_IN_CUE) for start, stop in enumerate(stops)]


def _pieces(run: list[Word], before: list[int]) -> Iterator[list[Word]]:
    ends = [len(run)]
    while ends[-1]:
        ends.append(before[ends[-1]])
    ends.reverse()
    for start, end in pairwise(ends):
        yield run[start:end]


def _space_before(word: Word, *, cjk: bool) -> float:
    if cjk:
        return 0.5 if word.text[:1].isspace() else 0.0
    return 1.0


def _cut_cost(run: list[Word], texts: list[str], place: int) -> float:
    """Return what a cut before a word costs: less where there is a pause. `texts` are the words without their spaces."""
    pause = run[place].start - run[place - 1].end
    return 1.5 * place_cost(texts[place - 1], texts[place]) * max(0.2, 1 - pause)


def _to_cue(words: list[Word], limits: Limits, *, cjk: bool) -> Cue:
    return Cue(
        words[0].start,
        max(words[-1].end, words[0].start),
        break_lines(join_words(words), limits, cjk=cjk),
        speaker=words[0].speaker,
        words=tuple(words),
    )
