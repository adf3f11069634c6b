"""What comes out of the worker for the origin's steps and for single pictures: plain data, without the engine's libraries."""

from __future__ import annotations

from dataclasses import dataclass

from media.geometry import Region
from services.ocr.engine import Box, Runs


@dataclass(frozen=True)
class Text:
    """One box of text in one picture, in pixels of the picture."""

    picture: int
    box: Box


@dataclass(frozen=True)
class Zone:
    """A place where subtitles stand."""

    area: Region
    confidence: float
    """Share of the texts of its rows that are in line with each other, 0 to 1."""
    orientation: str
    """horizontal or vertical."""
    alignment: str
    """center, left or right; of columns: top."""
    lines: int
    """Rows, or columns, that one picture had there at most."""
    font_height: int
    """Median height of its texts (of columns: their width)."""


@dataclass(frozen=True)
class FoundZones:
    """What pictures say."""

    zones: tuple[Zone, ...]
    """The strongest first."""
    static: tuple[Text, ...]
    """One of each text that stays."""
    pictures: int
    texts: int
    """Boxes of text in all pictures."""


@dataclass(frozen=True)
class Looked:
    """Zones in pictures, and which files were no use."""

    found: FoundZones
    width: int
    height: int
    unreadable: tuple[str, ...]


@dataclass(frozen=True)
class PictureLine:
    """One line of one picture."""

    text: str
    confidence: float
    box: Box


@dataclass(frozen=True)
class PictureRead:
    """What a picture says, or why it could not be read."""

    name: str
    lines: tuple[PictureLine, ...] = ()
    error: str | None = None
    engine: str = ""


@dataclass(frozen=True)
class FrameText:
    """What one strip says: its lines joined by spaces, and the box around them in the strip's pixels."""

    number: int
    text: str
    box: Box


@dataclass(frozen=True)
class StripsRead:
    """What all strips say."""

    texts: tuple[FrameText, ...]
    frames: int
    runs: Runs
    engine: str
