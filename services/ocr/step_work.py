"""What the origin's steps have a worker process do besides reading: lists, pictures, files. Imports what it needs on first use."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from services.ocr.faults import OcrFault

if TYPE_CHECKING:
    from services.ocr.step_items import FrameText
    from services.ocr.stitching import Stitched


def pictures_below(folder: Path, field: str) -> list[Path]:
    """List a folder's pictures; see `picture_files`."""
    from services.ocr import picture_files

    try:
        return picture_files.pictures_below(folder)
    except OcrFault as fault:
        raise OcrFault(fault.code, fault.message, field) from None


def spread(paths: Sequence[Path], most: int) -> list[Path]:
    """Return at most so many, evenly spread."""
    if len(paths) <= most:
        return list(paths)
    return [paths[int((number + 0.5) * len(paths) / most)] for number in range(most)]


def stitch(strips: Path, folder: Path, manifest: Path, together: int, field: str) -> Stitched:
    """Put strips below each other; see `stitching`."""
    from services.ocr import stitching

    try:
        return stitching.stitch(strips, folder, manifest, together)
    except OcrFault as fault:
        raise OcrFault(fault.code, fault.message, field) from None


def write_results(texts: Sequence[FrameText], path: Path) -> None:
    """Write texts by frame."""
    from services.ocr.frame_texts import to_results

    path.write_text(json.dumps(to_results(texts), ensure_ascii=False), encoding="utf-8")


def finalize(results: Path, film: Path, folder: Path, stem: str, rules: tuple[float, float, float]) -> int:
    """Write the SRT and JSON of texts by frame; returns how many subtitles there are, and writes nothing when there are none."""
    from services.ocr.frame_clock import frame_clock
    from services.ocr.frame_texts import Rules, frame_texts, to_items, to_subtitles
    from services.ocr.subtitle_files import numbered

    subtitles = to_subtitles(frame_texts(results), frame_clock(film), Rules(*rules))
    if subtitles:
        cues = [(one.start, one.end, one.text) for one in subtitles]
        (folder / f"{stem}.srt").write_text(numbered(cues), encoding="utf-8")
        items = json.dumps(to_items(subtitles), ensure_ascii=False, indent=1)
        (folder / f"{stem}.json").write_text(items, encoding="utf-8")
    return len(subtitles)
