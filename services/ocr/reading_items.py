"""What goes into the reading of a film and what comes out of it: plain data, without the engine's libraries."""

from __future__ import annotations

from dataclasses import dataclass

from services.ocr.cue import Cue, ReadLine
from services.ocr.film import Area, Film


@dataclass(frozen=True)
class Options:
    """How a film is read."""

    area: tuple[int, int, int, int] | None = None
    """[x1, y1, x2, y2] of the upright picture; None: its lower third."""
    confidence: float = 0.6
    """Readings with less are left out."""
    min_seconds: float = 0.12
    """Lines that are shown for less are left out, before anything is read."""
    merge_gap_seconds: float = 0.09
    drop_static_text: bool = True
    drop_scene_text: bool = True


@dataclass(frozen=True)
class Progress:
    """How far it is."""

    until: float
    """Seconds of the film that are read."""
    film_seconds: float
    """How long the film lasts by its header; 0 where that does not say."""
    lines: tuple[ReadLine, ...]
    """What was read since the last one."""


@dataclass(frozen=True)
class Figures:
    """What it took."""

    frames: int = 0
    detector_calls: int = 0
    recogniser_calls: int = 0


@dataclass(frozen=True)
class Result:
    """What a film says."""

    film: Film
    area: Area
    cues: tuple[Cue, ...]
    static: tuple[ReadLine, ...]
    scene: tuple[ReadLine, ...]
    figures: Figures
    engine: str
