"""What a film's pictures are to look like. Here and not with the renderer: the node never loads libav."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from media.geometry import Region, Size


class Pixels(StrEnum):
    """What kind of pixels a picture gets."""

    JPEG = "jpeg"
    """YCbCr as JFIF wants it: BT.601, full range, chroma as fine as the film's."""
    VIDEO = "video"
    """YCbCr of half-size chroma, BT.601, limited range: WebP."""
    RGB = "rgb"
    LUMA = "luma"
    """The brightness plane as it lies in the frame; of films without one what BT.601 makes of red, green and blue."""


@dataclass(frozen=True)
class Look:
    """One film's way from frames to pictures."""

    coded: Size
    """The size that frames have by the header, before they are turned; others are stretched to it."""
    crop: Region
    """What is cut out, in coded pixels of the upright frame."""
    size: Size
    """What that is stretched to."""
    pixels: Pixels
    upright: bool = True
    """Whether frames are turned as players do."""
