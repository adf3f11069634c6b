"""Pictures that people send, as brightness: upright, transparent ones on a ground that shows their text, none too large."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from services.ocr.faults import FaultCode, OcrFault
from services.ocr.film import Luma

SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"))
MAX_PIXELS = 80_000_000
"""Larger pictures are refused before they are decoded."""


def pictures_below(folder: Path) -> list[Path]:
    """Return the pictures of a folder and of the folders in it, in the order that people count: 2 comes before 10.

    Raises OcrFault (NO_PICTURES) when there is none.
    """
    found = [path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()]
    found = [path for path in found if not path.name.startswith(".")]
    if not found:
        raise OcrFault(
            FaultCode.NO_PICTURES, f"{folder.name} holds no picture ({', '.join(sorted(SUFFIXES))})"
        )
    return sorted(found, key=lambda path: (str(path.parent), natural(path.name)))


def natural(name: str) -> list[tuple[int, int | str]]:
    """Return what names are sorted by: digits count as numbers."""
    return [(0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"(\d+)", name) if part]


def load(path: Path) -> Luma:
    """Return one picture's brightness. Raises OcrFault (PICTURE_UNREADABLE)."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as picture:
                width, height = picture.size
                if width * height > MAX_PIXELS:
                    raise _too_large(path, f"{width} × {height}")
                return _brightness(ImageOps.exif_transpose(picture))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        # Pillow has a limit of its own, which it does not tell a size with.
        raise _too_large(path, "more") from error
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise OcrFault(
            FaultCode.PICTURE_UNREADABLE, f"{path.name} is no picture that is read here"
        ) from error


def _too_large(path: Path, size: str) -> OcrFault:
    message = f"{path.name} is too large: it has {size} pixels, at most {MAX_PIXELS} are read"
    return OcrFault(FaultCode.PICTURE_UNREADABLE, message)


def _brightness(picture: Image.Image) -> Luma:
    if picture.mode == "P" or "transparency" in picture.info:
        picture = picture.convert("RGBA")
    if picture.mode not in ("RGBA", "LA", "PA"):
        return np.asarray(picture.convert("L"), np.uint8)
    pair = picture.convert("RGBA")
    luma, alpha = np.asarray(pair.convert("L"), np.uint8), np.asarray(pair.getchannel("A"), np.uint8)
    opaque = luma[alpha > 127]
    # Dark letters want a light ground, light ones a dark one; where nothing is transparent it does not matter.
    ground = 255.0 if opaque.size and opaque.mean() < 128 else 0.0
    share = alpha.astype(np.float32) / 255
    return np.asarray(luma * share + ground * (1 - share), np.uint8)
