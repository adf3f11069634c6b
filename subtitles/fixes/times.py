"""Times that cannot be: negative, absurd, in the wrong order, without duration, or overlapping."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import replace

from subtitles.cue import Cue
from subtitles.fixes.change import Change, Kind, Numbered, span
from subtitles.measure import Limits, columns

_ABSURD_SECONDS = 120.0
"""Farther out of the file's order a time is damaged; nearer, two cues were swapped."""
_LEAST_RUN = 4
"""So many cues in a row do not get times that only rise, or only fall, by damage."""
_UNSORTED_SHARE = 1 / 3
_DAY_SECONDS = 86_400.0
_SAME_START_SECONDS = 0.05


def fix_times(rows: Sequence[Numbered], limits: Limits, *, cjk: bool) -> tuple[list[Numbered], list[Change]]:
    """Return rows in order of time, each after the one before it, none without duration. No text is lost."""
    changes: list[Change] = []
    placed = _replace_absurd(rows, changes)
    positive = [_not_negative(row, changes) for row in placed]
    ordered = sorted(positive, key=lambda row: (row.cue.start, row.place))
    changes += [
        Change(row.place, Kind.REORDERED, f"cue {row.place}", f"cue {place}")
        for place, row in enumerate(ordered, 1)
        if row is not positive[place - 1] and _moved(ordered, place - 1)
    ]
    lasting = [_with_duration(ordered, place, limits, changes, cjk=cjk) for place in range(len(ordered))]
    return _apart(lasting, limits, changes), changes


def _moved(ordered: Sequence[Numbered], place: int) -> bool:
    """Whether a row stands before one that came earlier in the file: then it has moved, and not only its neighbours."""
    return any(other.place > ordered[place].place for other in ordered[max(0, place - 3) : place])


def _replace_absurd(rows: Sequence[Numbered], changes: list[Change]) -> list[Numbered]:
    """Put a cue whose start is far out of order, or out of order and negative, between its neighbours in the file.

    The longest run of starts in order is taken for true; what does not fit it is out of order. Cues that are in an order of their
    own (a file backwards, or with signs behind all that is said) stay at their times: the file is sorted otherwise, not damaged.
    """
    kept = sorted(_longest_in_order([row.cue.start for row in rows]))
    moved = _sorted_otherwise(rows, set(kept))
    keep = moved.union(kept)
    result = list(rows)
    for place, row in enumerate(rows):
        if place in keep:
            continue
        following = bisect_right(kept, place)
        low = rows[kept[following - 1]].cue.end if following else 0.0
        high = rows[kept[following]].cue.start if following < len(kept) else low + 2.0
        off = max(low - row.cue.start, row.cue.start - high)
        if off < _ABSURD_SECONDS and row.cue.start >= 0:
            continue
        kind = Kind.ABSURD_TIME if off >= _ABSURD_SECONDS else Kind.NEGATIVE_TIME
        cue = _between(row.cue, max(0.0, low if low <= high else high), high)
        changes.append(Change(row.place, kind, span(row.cue), span(cue)))
        result[place] = replace(row, cue=replace(cue, words=()))
    return result


def _sorted_otherwise(rows: Sequence[Numbered], keep: set[int]) -> set[int]:
    """Return the places out of order whose times are sound all the same.

    Those are runs of cues one behind the other in the file, of which each starts later, or each earlier, than the one before; and
    all places, where so many different times are out of order that the file's order says nothing.
    """
    out = [
        place for place, row in enumerate(rows) if place not in keep and 0 <= row.cue.start <= _DAY_SECONDS
    ]
    if len({rows[place].cue.start for place in out}) > _UNSORTED_SHARE * len(rows):
        return set(out)
    found: set[int] = set()
    run: list[int] = []
    way = 0
    for place in [*out, -1]:
        step = 0
        if run and place == run[-1] + 1:
            change = rows[place].cue.start - rows[run[-1]].cue.start
            step = (change > 0) - (change < 0)
        if step and way in (0, step):
            run, way = [*run, place], step
            continue
        if len(run) >= _LEAST_RUN:
            found.update(run)
        run, way = ([run[-1], place], step) if step else ([place], 0)
    return found


def _between(cue: Cue, low: float, high: float) -> Cue:
    """Return a cue placed after `low` and, if there is room, before `high`; an end that lies there is kept."""
    if low < cue.end <= high:
        return cue.at(max(low, cue.end - 5.0), cue.end)
    duration = cue.duration if 0 < cue.duration <= 10 else 2.0
    end = min(low + duration, high) if high > low else low + duration
    return cue.at(low, max(low + 0.001, end))


def _longest_in_order(values: Sequence[float]) -> set[int]:
    """Return the places of a longest increasing subsequence (patience sorting, O(n log n)).

    Of those that start together one is in it: a time that is there again and again would else outweigh all others.
    """
    tails: list[float] = []
    tail_places: list[int] = []
    previous: list[int] = []
    for place, value in enumerate(values):
        pile = bisect_left(tails, value)
        previous.append(tail_places[pile - 1] if pile else -1)
        if pile == len(tails):
            tails.append(value)
            tail_places.append(place)
        else:
            tails[pile], tail_places[pile] = value, place
    found, place = set(), tail_places[-1] if tail_places else -1
    while place >= 0:
        found.add(place)
        place = previous[place]
    return found


def _not_negative(row: Numbered, changes: list[Change]) -> Numbered:
    cue = row.cue
    if cue.start >= 0 and cue.end >= 0:
        return row
    start = max(0.0, cue.start)
    mended = cue.at(start, max(cue.end, start))
    changes.append(Change(row.place, Kind.NEGATIVE_TIME, span(cue), span(mended)))
    return replace(row, cue=mended)


def _with_duration(
    rows: Sequence[Numbered], place: int, limits: Limits, changes: list[Change], *, cjk: bool
) -> Numbered:
    """Return the row with an end after its start: as long as it takes to read, until the next cue at most."""
    row = rows[place]
    if row.cue.duration > 0:
        if row.cue.duration <= 10 * limits.max_seconds:
            return row
        end, kind = row.cue.start + limits.max_seconds, Kind.TOO_LONG
    else:
        needed = max(limits.min_seconds, columns(row.cue.text, cjk=cjk) / limits.columns_per_second)
        end, kind = row.cue.start + needed, Kind.NO_DURATION
    if place + 1 < len(rows):
        following = rows[place + 1].cue.start
        if following > row.cue.start + 0.1:
            end = min(end, following)
    mended = row.cue.at(row.cue.start, end)
    changes.append(Change(row.place, kind, span(row.cue), span(mended)))
    return replace(row, cue=mended)


def _apart(rows: Sequence[Numbered], limits: Limits, changes: list[Change]) -> list[Numbered]:
    """Return rows of which none is shown while the next one is."""
    result: list[Numbered] = []
    for row in rows:
        before = result[-1].cue if result else None
        if before is None or row.cue.start >= before.end:
            result.append(row)
            continue
        if row.cue.start - before.start <= _SAME_START_SECONDS:
            result[-1] = replace(result[-1], cue=_together(before, row.cue))
            changes.append(Change(row.place, Kind.OVERLAP, span(row.cue), span(result[-1].cue)))
            continue
        result[-1] = replace(result[-1], cue=before.at(before.start, row.cue.start))
        changes.append(Change(result[-1].place, Kind.OVERLAP, span(before), span(result[-1].cue)))
        result.append(row)
    return result


def _together(first: Cue, second: Cue) -> Cue:
    """Return one cue for two that begin at the same time: two people speak, or a line was cut in two."""
    if second.plain == first.plain:
        return first.at(first.start, max(first.end, second.end))
    return replace(
        first,
        end=max(first.end, second.end),
        text=f"{first.text}\n{second.text}".strip(),
        words=(),
        speaker=first.speaker if first.speaker == second.speaker else None,
    )
