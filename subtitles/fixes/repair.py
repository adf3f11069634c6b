"""All fixes in the order in which each one finds what it needs: text, then pieces, then times, then lines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from subtitles.cue import Cue
from subtitles.fixes.change import Change, Kind, Numbered, numbered
from subtitles.fixes.pieces import drop_empty, join_fragments, join_repeats
from subtitles.fixes.text import ChineseScript, fix_text
from subtitles.fixes.times import fix_times
from subtitles.line_breaking import break_lines
from subtitles.measure import Limits, columns, is_cjk, limits_for
from subtitles.timing import settle


@dataclass(frozen=True)
class Repair:
    """What a repair is to do beyond what is wrong in any case."""

    language: str = ""
    script: ChineseScript | None = None
    typos: Mapping[str, str] | None = None
    readable: bool = True
    """Whether cues are also given the time and the lines that readers need."""
    limits: Limits | None = None
    """What is readable; None: the limits of the script."""
    shot_changes: tuple[float, ...] = ()
    end_seconds: float | None = None
    move: Callable[[Sequence[Cue]], Sequence[Cue]] | None = None
    """Moves cues, in order and as many as they are, to where they belong, once their times can be."""


def repair(cues: Sequence[Cue], options: Repair | None = None) -> tuple[list[Cue], list[Change]]:
    """Return mended cues and everything that was changed. Valid and readable cues come back as they are."""
    options = options or Repair()
    texts = "".join(cue.plain for cue in cues)
    cjk = is_cjk(texts)
    limits = options.limits or limits_for([texts])
    changes: list[Change] = []
    rows, found = fix_text(
        numbered(cues), language=options.language, script=options.script, typos=options.typos
    )
    changes += found
    rows, found = drop_empty(rows)
    changes += found
    rows, found = fix_times(rows, limits, cjk=cjk)
    changes += found
    rows, found = join_repeats(rows)
    changes += found
    rows, found = join_fragments(rows, cjk=cjk)
    changes += found
    if options.move is not None:
        moved = options.move([row.cue for row in rows])
        rows = [replace(row, cue=cue) for row, cue in zip(rows, moved, strict=True)]
        rows, found = fix_times(rows, limits, cjk=cjk)
        changes += found
    if not options.readable:
        return [row.cue for row in rows], changes
    rows, found = _in_lines(rows, limits, cjk=cjk)
    settled = settle(
        [row.cue for row in rows],
        limits,
        cjk=cjk,
        shot_changes=options.shot_changes,
        end_seconds=options.end_seconds,
        linger_seconds=0.0,
    )
    return settled, changes + found


def _in_lines(rows: Sequence[Numbered], limits: Limits, *, cjk: bool) -> tuple[list[Numbered], list[Change]]:
    """Break the lines of those cues again that are too long or too many; the others stay as their author broke them."""
    result, changes = [], []
    for row in rows:
        lines = row.cue.plain.split("\n")
        good = len(lines) <= limits.lines and all(
            columns(line, cjk=cjk) <= limits.line_columns for line in lines
        )
        # A second speaker's line begins with a dash: lines may be broken, never joined.
        if good or any(line.startswith(("-", "–", "—")) for line in lines):
            result.append(row)
            continue
        text = break_lines(row.cue.text, limits, cjk=cjk)
        if text != row.cue.text:
            changes.append(Change(row.place, Kind.LINES, row.cue.text, text))
        result.append(Numbered(row.place, row.cue.saying(text)))
    return result, changes
