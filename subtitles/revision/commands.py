"""MOVE, UPDATE, DELETE, PUNCTUATE: the origin's commands, each carried out only where it can do no harm.

In the order DELETE, UPDATE, MOVE, PUNCTUATE; a text that one of the first two has changed is not moved from.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from subtitles.measure import is_cjk
from subtitles.revision.answers import AnswerRefused, as_id
from subtitles.revision.edits import Edit, is_spare, key, tokens
from subtitles.revision.judging import around, copies, judge_correction, tidy
from subtitles.revision.line import Line
from subtitles.revision.verdict import Refusal, Verdict

ORDER = ("DELETE", "UPDATE", "MOVE", "PUNCTUATE")
MARKS = frozenset({",", ".", "!", "?", ";", ":", "…", "...", "，", "。", "！", "？", "；", "：", "、", "……"})
_MOST_MOVED = 24
"""Letters that may move to the next line: more of them would be read at the wrong moment."""
_MOST_PARTS = 50
"""Words or changes of one command."""
_ENDS = ".,!?;:…，。！？；：、\"'”’」』)"


@dataclass
class Carried:
    """What commands have made of a batch."""

    verdicts: dict[int, Verdict]
    applied: dict[str, int] = field(default_factory=dict)
    """Commands that were carried out, by name."""


@dataclass
class _Work:
    """The batch while commands are carried out."""

    lines: Sequence[Line]
    texts: dict[int, str]
    places: dict[int, int]
    refused: dict[int, Refusal] = field(default_factory=dict)
    touched: set[int] = field(default_factory=set)
    applied: dict[str, int] = field(default_factory=dict)
    moved: list[tuple[int, int]] = field(default_factory=list)

    def line(self, number: int) -> Line:
        """Return a line by its id."""
        return self.lines[self.places[number]]

    def done(self, name: str, *numbers: int, texts: Sequence[str]) -> None:
        """Note that a command was carried out."""
        self.applied[name] = self.applied.get(name, 0) + 1
        for number, text in zip(numbers, texts, strict=True):
            self.texts[number] = text


def carry_out(lines: Sequence[Line], commands: Sequence[dict[str, Any]]) -> Carried:
    """Carry commands out on a batch. Raises AnswerRefused when one names an id that was not sent, or is none that is known."""
    work = _Work(
        lines, {line.id: line.text for line in lines}, {line.id: place for place, line in enumerate(lines)}
    )
    known = [(_name(command), command) for command in commands]
    for name, command in known:
        if foreign := [number for number in _ids(name, command) if number not in work.places]:
            raise AnswerRefused(Refusal.IDS_DIFFER, f"{name} names {foreign[0]}, which was not sent")
    steps = {"DELETE": _delete, "UPDATE": _update, "MOVE": _move, "PUNCTUATE": _punctuate}
    for step in ORDER:
        for name, command in known:
            if name == step:
                steps[step](work, command)
    for source, target in work.moved:
        # A word that was moved is lost, or there twice, when one of both lines keeps its old text.
        refusal = work.refused.get(source) or work.refused.get(target)
        if refusal is not None:
            work.refused |= {source: refusal, target: refusal}
    verdicts = {line.id: Verdict(work.texts[line.id], work.refused.get(line.id)) for line in lines}
    return Carried(verdicts, work.applied)


def _name(command: dict[str, Any]) -> str:
    name = command.get("command", command.get("type", command.get("action")))
    name = name.upper() if isinstance(name, str) else ""
    if name not in ORDER:
        raise AnswerRefused(Refusal.NOT_IN_FORM, f"{name or 'nothing'} is no command")
    return name


def _ids(name: str, command: dict[str, Any]) -> Iterator[int]:
    if name == "MOVE":
        yield from (as_id(command.get("from_id")), as_id(command.get("to_id")))
    elif name == "PUNCTUATE":
        yield from (as_id(number) for number in _mapping(command, "updates"))
    else:
        yield as_id(command.get("id"))


def _mapping(command: dict[str, Any], name: str) -> dict[str, Any]:
    value = command.get(name)
    if not isinstance(value, dict):
        raise AnswerRefused(Refusal.NOT_IN_FORM, f"a command has no object named {name!r}")
    return value


def _delete(work: _Work, command: dict[str, Any]) -> None:
    """Take out words that are fillers, or that stand there twice in a row."""
    number, words = as_id(command.get("id")), command.get("words")
    if not isinstance(words, list) or not 0 < len(words) <= _MOST_PARTS:
        work.refused[number] = Refusal.COMMAND
        return
    if not all(isinstance(word, str) and key(word[:100]) for word in words):
        work.refused[number] = Refusal.COMMAND
        return
    for word in words:
        shorter = _without(work.texts[number], word)
        if shorter is None:
            work.refused[number] = Refusal.WORDS_LOST
        else:
            work.done("DELETE", number, texts=[shorter])
            work.touched.add(number)


def _without(text: str, word: str) -> str | None:
    """Return a text without one occurrence of a spare word; None when no occurrence is spare, or nothing would be left."""
    if len(word) > len(text):
        return None
    for match in re.finditer(_whole(word), text):
        before, after = tokens(text[: match.start()]), tokens(text[match.end() :])
        edit = Edit(tuple(tokens(match[0])), (), tuple(before[-4:]), tuple(after[:4]))
        if is_spare(edit) and (before or after):
            left, right = text[: match.start()].rstrip(), text[match.end() :].lstrip()
            # A comma that parted the word from the others goes with it, when one stands on both sides or it began the text.
            if right[:1] in (",", "，", "、") and (not left or left[-1] in ",，、"):
                right = right[1:].lstrip()
            joint = "" if not left or is_cjk(left[-1]) or right[:1] in _ENDS else " "
            shorter = tidy(left + joint + right)
            return shorter[:1].upper() + shorter[1:] if text[:1].isupper() else shorter
    return None


def _whole(word: str) -> str:
    """Return a pattern of a word that is no part of a longer one."""
    bare = word.strip()
    before = r"(?<!\w)" if bare[:1].isalnum() and not is_cjk(bare) else ""
    after = r"(?!\w)" if bare[-1:].isalnum() and not is_cjk(bare) else ""
    return f"{before}{re.escape(bare)}{after}"


def _update(work: _Work, command: dict[str, Any]) -> None:
    """Replace words by what they can have been meant for."""
    number, changes = as_id(command.get("id")), _mapping(command, "changes")
    line, text = work.line(number), work.texts[number]
    if len(changes) > _MOST_PARTS:
        work.refused[number] = Refusal.COMMAND
        return
    for old, new in changes.items():
        if (
            not old.strip()
            or not isinstance(new, str)
            or len(old) > len(text)
            or not re.search(_whole(old), text)
        ):
            work.refused[number] = Refusal.COMMAND
            return
        text = re.sub(_whole(old), lambda _, new=new: new, text, count=1)  # type: ignore[misc]
    text = tidy(text)
    before = Line(number, work.texts[number], line.budget, line.joins_next)
    refusal = judge_correction(before, text, around(work.lines, work.places[number]))
    if refusal is not None:
        work.refused[number] = refusal
    elif text != work.texts[number]:
        work.done("UPDATE", number, texts=[text])
        work.touched.add(number)


def _move(work: _Work, command: dict[str, Any]) -> None:
    """Move a few words over the edge between two lines that go on into each other."""
    source, target, text = as_id(command.get("from_id")), as_id(command.get("to_id")), command.get("text")
    if not isinstance(text, str) or not tokens(text) or abs(source - target) != 1 or source in work.touched:
        work.refused[source] = Refusal.COMMAND
        return
    piece, giving, taking = tidy(text), work.texts[source], work.texts[target]
    down = target > source
    if not work.line(min(source, target)).joins_next or "\n" in giving + taking or len(text) > _MOST_MOVED:
        work.refused[source] = Refusal.COMMAND
        return
    rest = _cut_off(giving, piece, end=down)
    if rest is None or not tokens(rest):
        work.refused[source] = Refusal.COMMAND
        return
    joint = "" if is_cjk(piece[-1:]) and is_cjk(taking[:1]) else " "
    whole = f"{piece}{joint}{taking}" if down else f"{taking}{joint}{piece}"
    if copies(work.line(target), whole, [work.line(source)]):
        work.refused[source] = Refusal.COPIES_NEIGHBOUR
        return
    work.done("MOVE", source, target, texts=[rest, whole])
    work.touched |= {source, target}
    work.moved.append((source, target))


def _cut_off(text: str, piece: str, *, end: bool) -> str | None:
    """Return what is left of a text without the whole words at its end or beginning; None when they do not stand there."""
    if end and text.endswith(piece):
        rest, edge = text[: -len(piece)], text[-len(piece) - 1 : -len(piece)]
    elif not end and text.startswith(piece):
        rest, edge = text[len(piece) :], text[len(piece) : len(piece) + 1]
    else:
        return None
    inside = piece[0] if end else piece[-1]
    if edge.isalnum() and inside.isalnum() and not (is_cjk(edge) or is_cjk(inside)):
        return None
    return rest.strip()


def _punctuate(work: _Work, command: dict[str, Any]) -> None:
    """Put a mark behind lines that have none."""
    for name, mark in _mapping(command, "updates").items():
        number = as_id(name)
        text = work.texts[number]
        if not isinstance(mark, str) or mark.strip() not in MARKS:
            work.refused[number] = Refusal.COMMAND
        elif text[-1:] not in _ENDS:
            work.done("PUNCTUATE", number, texts=[text + mark.strip()])
