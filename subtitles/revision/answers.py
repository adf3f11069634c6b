"""A model's answer read: lines with ids and echoes, or commands. What is not in the form is refused as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from subtitles.revision.judging import is_echo
from subtitles.revision.line import Line
from subtitles.revision.verdict import Refusal

MAX_ENTRIES = 2000


class AnswerRefused(ValueError):
    """No line of the answer can be believed."""

    def __init__(self, refusal: Refusal, message: str) -> None:
        super().__init__(message)
        self.refusal = refusal


def read_lines(document: Any, lines: Sequence[Line], field: str) -> tuple[dict[int, str], dict[int, Refusal]]:
    """Return the proposed texts by id, and for lines whose echo is not theirs the reason.

    `document` is `{"lines": [{"id", "original", field}]}`, each id of the batch exactly once. Raises AnswerRefused.
    """
    entries = list(_entries(document, "lines"))
    ids = [_id(entry.get("id")) for entry in entries]
    wanted = [line.id for line in lines]
    if sorted(ids) != sorted(wanted):
        raise AnswerRefused(Refusal.IDS_DIFFER, _difference(wanted, ids))
    by_id = dict(zip(ids, entries, strict=True))
    proposals: dict[int, str] = {}
    refused: dict[int, Refusal] = {}
    for line in lines:
        entry = by_id[line.id]
        text, echo = entry.get(field), entry.get("original")
        if not isinstance(text, str):
            raise AnswerRefused(Refusal.NOT_IN_FORM, f"line {line.id} has no text named {field!r}")
        proposals[line.id] = text
        if not isinstance(echo, str) or not is_echo(line, echo):
            refused[line.id] = Refusal.ECHO_DIFFERS
            if isinstance(echo, str) and any(is_echo(other, echo) for other in lines if other.id != line.id):
                refused[line.id] = Refusal.SHIFTED
    return proposals, refused


def read_commands(document: Any) -> list[dict[str, Any]]:
    """Return the commands of `{"commands": […]}`. Raises AnswerRefused."""
    return list(_entries(document, "commands"))


def _entries(document: Any, name: str) -> Iterator[dict[str, Any]]:
    entries = document.get(name) if isinstance(document, dict) else document
    if not isinstance(entries, list):
        raise AnswerRefused(Refusal.NOT_IN_FORM, f"it has no list named {name!r}")
    if len(entries) > MAX_ENTRIES:
        raise AnswerRefused(Refusal.NOT_IN_FORM, f"it has {len(entries)} entries")
    for entry in entries:
        if not isinstance(entry, dict):
            raise AnswerRefused(Refusal.NOT_IN_FORM, "an entry is no object")
        yield entry


def _id(value: Any) -> int:
    """Return an id; −1 for what is none. Some models write numbers as texts."""
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= 9:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**9 else -1


def as_id(value: Any) -> int:
    """Return the id that a command names; −1 for what is none."""
    return _id(value)


def _difference(wanted: Sequence[int], given: Sequence[int]) -> str:
    missing = sorted(set(wanted) - set(given))[:5]
    foreign = sorted(set(given) - set(wanted))[:5]
    doubled = (
        sorted({number for number in given if given.count(number) > 1})[:5]
        if len(given) <= MAX_ENTRIES
        else []
    )
    return f"missing {missing}, foreign {foreign}, doubled {doubled}"
