"""A finished transcript as files: the origin's JSON, and texts for people. Runs in a worker process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import orjson

from services.asr.segments import Heard
from subtitles.cue import Cue, Word
from subtitles.measure import is_cjk, limits_for
from subtitles.segmentation import segment
from subtitles.timing import settle
from subtitles.writing import AssStyle, to_ass, to_srt, to_vtt


def write_files(
    folder: Path,
    base: str,
    segments: Sequence[Heard],
    metadata: dict[str, Any],
    *,
    forms: Sequence[str],
    words: bool,
    chinese: Literal["simplified", "traditional", "as_heard"],
) -> dict[str, Path]:
    """Write the JSON and the texts asked for; returns them by form, the JSON as `json`."""
    rows = [row.to_json(number, words=words) for number, row in enumerate(segments)]
    cues = [_cue(row, body, words=True) for row, body in zip(segments, rows, strict=True)]
    if chinese != "as_heard":
        convert = _converter(chinese)
        rows = [_converted_row(row, convert) for row in rows]
        cues = [
            _converted(cue, convert) if row.figures.language in ("zh", "yue") else cue
            for cue, row in zip(cues, segments, strict=True)
        ]
    files = {"json": folder / f"{base}.json"}
    files["json"].write_bytes(orjson.dumps({**metadata, "segments": rows}, option=orjson.OPT_INDENT_2))
    for form in dict.fromkeys(forms):
        files[form] = folder / f"{base}.{form}"
        files[form].write_text(_text(form, cues, rows), encoding="utf-8")
    return files


def _text(form: str, cues: Sequence[Cue], rows: Sequence[dict[str, Any]]) -> str:
    if form == "txt":
        return "".join(f"{row['text']}\n" for row in rows)
    if form == "tsv":
        head = "start\tend\ttext\n"
        return head + "".join(
            f"{round(row['start'] * 1000)}\t{round(row['end'] * 1000)}\t{row['text'].replace(chr(9), ' ')}\n"
            for row in rows
        )
    readable = _readable(cues)
    named = any(cue.speaker for cue in cues)
    if form == "vtt":
        return to_vtt(readable, speakers=named)
    if form == "ass":
        return to_ass(readable, AssStyle(karaoke=True))
    return to_srt(readable, speakers=named)


def _readable(cues: Sequence[Cue]) -> list[Cue]:
    texts = "".join(cue.plain for cue in cues)
    limits = limits_for([texts])
    return settle(segment(cues, limits), limits, cjk=is_cjk(texts))


def _cue(row: Heard, body: dict[str, Any], *, words: bool) -> Cue:
    return Cue(
        row.start,
        row.end,
        row.text,
        speaker=body.get("speaker"),
        words=tuple(Word(word.start, word.end, word.text, word.probability) for word in row.words)
        if words
        else (),
    )


def _converter(chinese: str) -> Any:
    from opencc import OpenCC  # its dictionaries take a moment

    return OpenCC("t2s" if chinese == "simplified" else "s2t").convert


def _converted_row(row: dict[str, Any], convert: Any) -> dict[str, Any]:
    if row["language"] not in ("zh", "yue"):
        return row
    changed = {**row, "text": convert(row["text"])}
    if "words" in row:
        changed["words"] = [{**word, "word": convert(word["word"])} for word in row["words"]]
    return changed


def _converted(cue: Cue, convert: Any) -> Cue:
    words = tuple(Word(word.start, word.end, convert(word.text), word.probability) for word in cue.words)
    return Cue(cue.start, cue.end, convert(cue.text), cue.speaker, words)
