"""What goes into the reading of a film and what comes out of it: plain data, without the engine's libraries."""

from __future__ import annotations

from dataclasses import dataclass, field

from media.geometry import Region
from services.ocr.cue import Cue, ReadLine
from services.ocr.engine import Box, Runs
from services.ocr.film import Film

Corners = tuple[int, int, int, int]
"""[x1, y1, x2, y2] in display pixels, the second corner outside."""


@dataclass(frozen=True)
class Options:
    """How a film is read."""

    zones: tuple[Corners, ...] = ()
    """Where to look; none: the lower third of the picture."""
    find_zones: bool = False
    """Whether the zones are looked for first."""
    language: str = "auto"
    """A code of `languages.py`, or auto: by script."""
    confidence: float = 0.6
    """Readings with less are left out."""
    min_seconds: float = 0.12
    """Lines that are shown for less are left out, before anything is read."""
    merge_gap_seconds: float = 0.09
    drop_static_text: bool = True
    drop_scene_text: bool = True


@dataclass(frozen=True)
class Position:
    """How far a film was read: from here another process goes on."""

    until: float = 0.0
    """Every line that was over by then has been read."""
    lines: tuple[ReadLine, ...] = ()
    open_lines: tuple[tuple[Box, float], ...] = ()
    """Box in the strip, and start, of lines that went on."""
    zones: tuple[Corners, ...] = ()
    frames: int = 0
    runs: Runs = field(default_factory=Runs)


@dataclass(frozen=True)
class Progress:
    """How far it is."""

    until: float
    """Seconds of the film that are read."""
    film_seconds: float
    """How long the film lasts by its header; 0 where that does not say."""
    lines: tuple[ReadLine, ...]
    """What was read since the last one."""
    position: Position | None = None
    """A place to go on from, about once a minute of film."""


@dataclass(frozen=True)
class Figures:
    """What it took."""

    frames: int = 0
    runs: Runs = field(default_factory=Runs)


@dataclass(frozen=True)
class Result:
    """What a film says."""

    film: Film
    zones: tuple[Region, ...]
    cues: tuple[Cue, ...]
    static: tuple[ReadLine, ...]
    scene: tuple[ReadLine, ...]
    figures: Figures
    engine: str
    device: str = "cpu"
    """Where the engine's networks ran."""
    until: float = 0.0
    """When the last frame that was read is shown, in seconds of the film."""
