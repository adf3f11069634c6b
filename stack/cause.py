"""Why a part ended, out of its log: its own last words, without the frames and the JSON around them."""

from __future__ import annotations

import json

_LINES = 3


def cause_of(log: str) -> str:
    """Return what a process ended with: refused settings whole, else the last line of its traceback, else its last lines."""
    lines = [line for line in log.splitlines() if line.strip()]
    for number in range(len(lines) - 1, -1, -1):
        line = lines[number]
        if line.startswith("settings: "):
            return "\n".join(lines[number:])
        if exception := _exception(line):
            return exception.rstrip().splitlines()[-1].strip()
    if any(line.startswith("Traceback ") for line in lines):
        return lines[-1].strip()
    return "\n".join(line.strip() for line in lines[-_LINES:]) or "it said nothing"


def _exception(line: str) -> str:
    """Return the traceback that a JSON line of the log carries."""
    if not line.startswith("{"):
        return ""
    try:
        said = json.loads(line)
    except ValueError:
        return ""
    found = said.get("exception")
    return found if isinstance(found, str) and said.get("level") in ("critical", "error") else ""
