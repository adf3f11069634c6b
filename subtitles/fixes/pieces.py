"""Cues that are no cues of their own: empty, repeated, or a letter that belongs to its neighbour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from subtitles.cue import Cue
from subtitles.fixes.change import Change, Kind, Numbered
from subtitles.measure import columns

_REPEAT_GAP_SECONDS = 0.3
_FRAGMENT_GAP_SECONDS = 0.5
_FRAGMENT_LINE_COLUMNS = 20
"""The origin system's rule: a letter joins its neighbour while their line stays as short as this."""
_WHOLE_WORDS = frozenset("aioyuàèéíóúy我你他她它好啊哦嗯是对不来走否はえああんう네예")
"""Single letters that are words and answers; they stay."""


def drop_empty(rows: Sequence[Numbered]) -> tuple[list[Numbered], list[Change]]:
    """Leave out cues that show nothing."""
    kept = [row for row in rows if row.cue.plain]
    gone = [Change(row.place, Kind.EMPTY, row.cue.text, "") for row in rows if not row.cue.plain]
    return kept, gone


def join_repeats(rows: Sequence[Numbered]) -> tuple[list[Numbered], list[Change]]:
    """Make one cue of those that follow each other with the same text and no time between."""
    result: list[Numbered] = []
    changes: list[Change] = []
    for row in rows:
        before = result[-1].cue if result else None
        same = before is not None and before.plain == row.cue.plain and before.speaker == row.cue.speaker
        if before is not None and same and row.cue.start - before.end <= _REPEAT_GAP_SECONDS:
            longer = before.at(min(before.start, row.cue.start), max(before.end, row.cue.end))
            result[-1] = replace(result[-1], cue=longer)
            changes.append(Change(row.place, Kind.DUPLICATE, row.cue.plain, ""))
        else:
            result.append(row)
    return result, changes


def join_fragments(rows: Sequence[Numbered], *, cjk: bool) -> tuple[list[Numbered], list[Change]]:
    """Join cues of a single letter to the nearer neighbour, when it is near in time and by the same speaker."""
    result: list[Numbered] = []
    changes: list[Change] = []
    waiting: Numbered | None = None
    for place, row in enumerate(rows):
        if waiting is not None:
            result.append(replace(row, cue=_joined(waiting.cue, row.cue, cjk=cjk)))
            waiting = None
            continue
        if not _is_fragment(row.cue):
            result.append(row)
            continue
        before = result[-1].cue if result else None
        after = rows[place + 1].cue if place + 1 < len(rows) else None
        gap_before = (
            row.cue.start - before.end if before and _takes(before, row.cue, cjk=cjk) else float("inf")
        )
        gap_after = after.start - row.cue.end if after and _takes(after, row.cue, cjk=cjk) else float("inf")
        if min(gap_before, gap_after) > _FRAGMENT_GAP_SECONDS:
            result.append(row)
            continue
        if before is not None and gap_before <= gap_after:
            result[-1] = replace(result[-1], cue=_joined(before, row.cue, cjk=cjk))
            changes.append(Change(row.place, Kind.FRAGMENT, row.cue.plain, result[-1].cue.plain))
        else:
            waiting = row
            changes.append(Change(row.place, Kind.FRAGMENT, row.cue.plain, "joined to the next cue"))
    return result, changes


def _is_fragment(cue: Cue) -> bool:
    letters = [character for character in cue.plain if character.isalnum()]
    return len(letters) == 1 and letters[0].lower() not in _WHOLE_WORDS and not letters[0].isdigit()


def _takes(neighbour: Cue, fragment: Cue, *, cjk: bool) -> bool:
    line = columns(neighbour.plain.split("\n")[-1], cjk=cjk) + 1
    return neighbour.speaker == fragment.speaker and line <= _FRAGMENT_LINE_COLUMNS


def _joined(first: Cue, second: Cue, *, cjk: bool) -> Cue:
    return replace(
        first,
        end=max(first.end, second.end),
        text=f"{first.text}{'' if cjk else ' '}{second.text}",
        words=first.words + second.words,
    )
