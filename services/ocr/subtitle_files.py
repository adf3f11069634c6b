"""Cues as files: SRT, WebVTT, ASS with places, and JSON with everything."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from services.ocr.cue import Cue, ReadLine
from services.ocr.reading_items import Result
from subtitles.clock import format_clock

_ASS_HEAD = """[Script Info]
ScriptType: v4.00+
PlayResX: {width}
PlayResY: {height}

[V4+ Styles]
Format: Name,Fontname,Fontsize,PrimaryColour,OutlineColour,BorderStyle,Outline,Shadow,Alignment,MarginL,MarginR,MarginV,Encoding
Style: Default,Sans,{size},&H00FFFFFF,&H00000000,1,2,0,2,10,10,10,1

[Events]
Format: Layer,Start,End,Style,Name,MarginL,MarginR,MarginV,Effect,Text
"""


def write_files(result: Result, folder: Path, stem: str, forms: Sequence[str]) -> dict[str, Path]:
    """Write the asked forms as `<stem>.<form>`; returns their paths by form."""
    writers: dict[str, Callable[[Result], str]] = {"srt": _srt, "vtt": _vtt, "ass": _ass, "json": _json}
    paths = {form: folder / f"{stem}.{form}" for form in dict.fromkeys(forms)}
    for form, path in paths.items():
        path.write_text(writers[form](result), encoding="utf-8")
    return paths


def _srt(result: Result) -> str:
    return numbered([(cue.start, cue.end, cue.text) for cue in result.cues])


def lines_as_srt(lines: Sequence[ReadLine]) -> str:
    """Return lines as SRT, each a cue of its own."""
    return numbered([(line.start, line.end, line.text) for line in sorted(lines, key=lambda one: one.start)])


def numbered(cues: Sequence[tuple[float, float, str]]) -> str:
    """Return (start, end, text) as SRT."""
    return "".join(
        f"{number}\n{format_clock(start, ',')} --> {format_clock(end, ',')}\n{text}\n\n"
        for number, (start, end, text) in enumerate(cues, 1)
    )


def _vtt(result: Result) -> str:
    def escaped(text: str) -> str:
        return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

    cues = (
        f"{format_clock(x.start, '.')} --> {format_clock(x.end, '.')}\n{escaped(x.text)}\n\n"
        for x in result.cues
    )
    return "WEBVTT\n\n" + "".join(cues)


def _ass(result: Result) -> str:
    heights = sorted(line.box.height for cue in result.cues for line in cue.lines)
    size = heights[len(heights) // 2] if heights else result.film.height // 18
    head = _ASS_HEAD.format(width=result.film.width, height=result.film.height, size=size)
    return head + "".join(_ass_event(cue) for cue in result.cues)


def _ass_event(cue: Cue) -> str:
    def clock(seconds: float) -> str:
        # Rounded down, so that the frame itself is within: ASS knows hundredths only.
        hundredths = max(0, int(seconds * 100 + 1e-6))
        minutes, rest = divmod(hundredths, 6000)
        return f"{minutes // 60}:{minutes % 60:02d}:{rest // 100:02d}.{rest % 100:02d}"

    left, right = min(x.box.left for x in cue.lines), max(x.box.right for x in cue.lines)
    place = f"{{\\an2\\pos({(left + right) // 2},{max(x.box.bottom for x in cue.lines)})}}"
    text = cue.text.replace("{", "｛").replace("}", "｝").replace("\n", "\\N")
    return f"Dialogue: 0,{clock(cue.start)},{clock(cue.end)},Default,,0,0,0,,{place}{text}\n"


def _json(result: Result) -> str:
    document = {
        "engine": result.engine,
        "width": result.film.width,
        "height": result.film.height,
        "zones": [zone.corners() for zone in result.zones],
        "subtitles": [
            {
                "id": number,
                "startTime": round(cue.start, 6),
                "endTime": round(cue.end, 6),
                "text": cue.text,
                "lines": [_line(line) for line in cue.lines],
            }
            for number, cue in enumerate(result.cues, 1)
        ],
        "static_text": [_line(line) for line in result.static],
        "scene_text": [_line(line) for line in result.scene],
    }
    return json.dumps(document, ensure_ascii=False, indent=1)


def _line(line: ReadLine) -> dict[str, Any]:
    box = line.box
    return {
        "text": line.text,
        "raw": line.raw,
        "confidence": round(line.confidence, 4),
        "bbox": [box.left, box.top, box.right, box.bottom],
        "startTime": round(line.start, 6),
        "endTime": round(line.end, 6),
    }
