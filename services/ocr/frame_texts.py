"""What single frames say becomes subtitles: alike neighbours joined, short ones dropped, gaps bridged, times of true frames.

The rules are the origin system's (likeness 0.6, least length 0.2 s, gap 1 s), with one more: two texts that differ and were each
read alike for the least length stay two, however alike they are.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

from services.ocr.engine import Box
from services.ocr.faults import FaultCode, OcrFault
from services.ocr.step_items import FrameText

FALLBACK_RATE = 30.0
"""Frames a second of a film that does not tell."""


@dataclass(frozen=True)
class Rules:
    """How texts are joined."""

    likeness: float = 0.6
    """Least SequenceMatcher ratio of texts that are one."""
    min_seconds: float = 0.2
    gap_seconds: float = 1.0


@dataclass(frozen=True)
class Subtitle:
    """One subtitle; times in seconds."""

    start: float
    end: float
    text: str
    box: Box
    first: int
    """Number of the first frame."""
    last: int


def frame_texts(path: Path) -> list[FrameText]:
    """Read `{"<frame>": [text, [[x, y] × 4]]}`. Raises OcrFault (RESULTS_UNREADABLE)."""
    try:
        document: dict[str, Any] = json.loads(path.read_bytes())
        texts = []
        for number, (text, corners) in document.items():
            across, down = [float(x) for x, _ in corners], [float(y) for _, y in corners]
            box = Box(int(min(across)), int(min(down)), int(max(across)), int(max(down)))
            texts.append(FrameText(int(number), str(text), box))
    except (OSError, ValueError, TypeError, AttributeError):
        message = "the file is not one of texts by frame"
        raise OcrFault(FaultCode.RESULTS_UNREADABLE, message, "/ocr_results_path") from None
    return sorted((text for text in texts if text.text.strip()), key=lambda one: one.number)


def to_results(texts: Sequence[FrameText]) -> dict[str, Any]:
    """Return what `frame_texts` reads."""
    return {str(one.number): [one.text, _corners(one.box)] for one in texts}


def _corners(box: Box) -> list[list[int]]:
    return [[box.left, box.top], [box.right, box.top], [box.right, box.bottom], [box.left, box.bottom]]


def to_subtitles(texts: Sequence[FrameText], time_of: Callable[[int], float], rules: Rules) -> list[Subtitle]:
    """Join what frames say. `time_of` gives when a frame, by its number, begins to be shown."""
    stretches = [_subtitle(run, time_of) for run in _runs(texts, time_of, rules)]
    stretches = [one for one in stretches if one.end - one.start >= rules.min_seconds - 1e-6]
    joined: list[Subtitle] = []
    for one in stretches:
        before = joined[-1] if joined else None
        gap = one.start - before.end if before else 0.0
        if before and 1e-6 < gap < rules.gap_seconds and _same(before.text) == _same(one.text):
            joined[-1] = replace(before, end=one.end, last=one.last, box=before.box.joined(one.box))
        else:
            joined.append(one)
    return joined


def _runs(texts: Sequence[FrameText], time_of: Callable[[int], float], rules: Rules) -> list[list[FrameText]]:
    """Cut frames where they are not neighbours, say something else, or go on with another text that lasts."""
    stretches: list[list[FrameText]] = []
    for one in texts:
        last = stretches[-1][-1] if stretches else None
        if last and one.number - last.number <= 1 and _same(one.text) == _same(last.text):
            stretches[-1].append(one)
        else:
            stretches.append([one])

    def lasts(run: Sequence[FrameText]) -> bool:
        return time_of(run[-1].number + 1) - time_of(run[0].number) >= rules.min_seconds - 1e-6

    runs: list[list[FrameText]] = []
    for stretch in stretches:
        before = runs[-1] if runs else None
        near = before is not None and stretch[0].number - before[-1].number <= 1
        alike = before is not None and _ratio(before[-1].text, stretch[0].text) >= rules.likeness
        back = before is not None and _same(_commonest(before)) == _same(stretch[0].text)
        if before is not None and near and (back or (alike and not (lasts(before) and lasts(stretch)))):
            before.extend(stretch)
        else:
            runs.append(list(stretch))
    return runs


def _commonest(run: Sequence[FrameText]) -> str:
    return Counter(one.text for one in run).most_common(1)[0][0]


def _same(text: str) -> str:
    return "".join(text.split())


def _ratio(one: str, other: str) -> float:
    return SequenceMatcher(None, one, other, autojunk=False).ratio()


def _subtitle(run: Sequence[FrameText], time_of: Callable[[int], float]) -> Subtitle:
    text = _commonest(run)
    box = next(one.box for one in run if one.text == text)
    first, last = run[0].number, run[-1].number
    return Subtitle(time_of(first), time_of(last + 1), text, box, first, last)


def to_items(subtitles: Sequence[Subtitle]) -> list[dict[str, Any]]:
    """Return what the JSON file lists, as the origin system does."""
    return [
        {
            "id": number,
            "startTime": round(one.start, 6),
            "endTime": round(one.end, 6),
            "text": one.text,
            "bbox": _corners(one.box),
            "frameRange": [one.first, one.last],
        }
        for number, one in enumerate(subtitles, 1)
    ]
