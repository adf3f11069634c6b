"""Pictures that are refused before a pixel of them is decoded."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import pytest

from services.ocr.faults import FaultCode, OcrFault
from services.ocr.picture_files import load


def png(path: Path, side: int) -> Path:
    """Write the head of a square picture; nothing of it is there."""
    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(b"")), (b"IEND", b""))
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


@pytest.mark.parametrize("side", [9_000, 12_000, 16_000, 2**31 - 1])
def test_a_picture_that_is_too_large_is_told_so(tmp_path: Path, side: int) -> None:
    """By our limit and by those of the library that opens it, which warns of some and refuses others."""
    with pytest.raises(OcrFault) as refused:
        load(png(tmp_path / "large.png", side))
    assert refused.value.code is FaultCode.PICTURE_UNREADABLE
    assert refused.value.message.startswith("large.png is too large")


def test_what_is_no_picture_is_told_so(tmp_path: Path) -> None:
    """Text under a picture's name, and a picture of a good size that breaks off."""
    (tmp_path / "text.png").write_text("no picture")
    for path in (tmp_path / "text.png", png(tmp_path / "cut.png", 100)):
        with pytest.raises(OcrFault, match="is no picture that is read here"):
            load(path)
