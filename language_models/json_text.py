"""JSON found in what a model says: bare, fenced, after its thoughts, or with words around it."""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

_THOUGHTS = re.compile(r"\A\s*<think(?:ing)?>.*?</think(?:ing)?>", re.DOTALL)
_START = re.compile(r"[{\[]")
_HALVES = re.compile("[\ud800-\udfff]")
_MAX_STARTS = 16
"""Places that are tried as the beginning: a text that never is JSON must not cost its length squared."""


class NoJson(ValueError):
    """There is none in the text; the message says why."""


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")


_DECODER = json.JSONDecoder(parse_constant=_no_number)


def _whole(value: Any) -> Any:
    """Return a value in whose texts halves of characters, which JSON can write and no file can hold, are U+FFFD."""
    if isinstance(value, str):
        return value if value.isascii() else _HALVES.sub("\ufffd", value)
    if isinstance(value, dict):
        return {_whole(name): _whole(one) for name, one in value.items()}
    return [_whole(one) for one in value] if isinstance(value, list) else value


def find_json(text: str) -> Any:
    """Return the first JSON object or array of a model's answer. Raises NoJson."""
    thought = _THOUGHTS.match(text)
    place = thought.end() if thought else 0
    for _ in range(_MAX_STARTS):
        start = _START.search(text, place)
        if start is None:
            break
        try:
            return _whole(_DECODER.raw_decode(text, start.start())[0])
        except (ValueError, RecursionError):
            place = start.end()
    raise NoJson("there is no JSON in it" if text.strip() else "it is empty")
