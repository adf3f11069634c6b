"""RapidOCR as an engine: PP-OCRv6 in ONNX, its models inside the package; reads Chinese, English, Japanese and Latin script."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import cv2
import numpy as np

from services.ocr.engine import Box, Reading
from services.ocr.film import Luma

_GAP_ROWS = 32
"""Black rows between stitched pictures, so that the detector does not join lines of two of them."""
_SIDE_STEP = 32
_MAX_SIDE = 1280
_DETECTOR_WIDTH = 640
"""Pictures are made this wide before the detector sees them: letters of a 40th of the picture's width are still 16 pixels."""
_FULL_WIDTH_STEP = 160
"""Lines are padded to a multiple of this: few shapes, so that the runtime's memory does not grow with each new one."""
_LINE_ROWS = 48
"""Rows of a line as the recogniser sees it."""


class RapidEngine:
    """RapidOCR's detector and recogniser, with stitching and shape buckets around them."""

    name = "rapidocr"

    def __init__(self, threads: int) -> None:
        from rapidocr import RapidOCR
        from rapidocr.ch_ppocr_rec.typings import TextRecInput

        logging.getLogger("RapidOCR").setLevel(logging.ERROR)
        rapid = RapidOCR(
            params={
                # By default the short side is scaled up to 736: a strip would become a wall.
                "Det.limit_type": "max",
                "Det.limit_side_len": _MAX_SIDE,
                "Global.use_cls": False,
                "Global.log_level": "error",
                "EngineConfig.onnxruntime.intra_op_num_threads": threads,
            }
        )
        # The package (pinned) loads its models on the first whole picture; its parts are what is used here.
        self._detector = rapid._load_det_model()  # type: ignore[no-untyped-call]
        self._recogniser = rapid._load_rec_model()  # type: ignore[no-untyped-call]
        self._input = TextRecInput

    def find(self, pictures: Sequence[Luma]) -> list[list[Box]]:
        """Return the boxes of text in each picture, out of one call of the detector for all."""
        if not pictures:
            return []
        height, width = pictures[0].shape
        scale = min(1.0, _detector_width(width) / width)
        rows = round(height * scale)
        shape = (round(width * scale), rows)
        pitch = rows + _GAP_ROWS
        stitched = np.zeros((-(-pitch * len(pictures) // _SIDE_STEP) * _SIDE_STEP, shape[0]), np.uint8)
        for number, picture in enumerate(pictures):
            small = cv2.resize(picture, shape, interpolation=cv2.INTER_AREA) if scale < 1 else picture
            stitched[number * pitch : number * pitch + rows] = small
        self._detector.limit_side_len = max(stitched.shape)
        found: list[list[Box]] = [[] for _ in pictures]
        output = self._detector(cv2.cvtColor(stitched, cv2.COLOR_GRAY2BGR))
        for corners in output.boxes if output.boxes is not None else ():
            number = int(np.median(corners[:, 1]) // pitch)
            moved = (corners - (0, number * pitch)) / scale
            (left, top), (right, bottom) = moved.min(0), moved.max(0)
            box = Box(
                max(0, int(left)), max(0, int(top)), min(width, int(right) + 1), min(height, int(bottom) + 1)
            )
            if number < len(found) and box.width > 3 and box.height > 5:
                found[number].append(box)
        return found

    def read(self, lines: Sequence[Luma]) -> list[Reading]:
        """Return what each line says."""
        if not lines:
            return []
        output = self._recogniser(self._input(img=[_padded(line) for line in lines]))
        texts = output.txts or ("",) * len(lines)
        return [Reading(text, float(score)) for text, score in zip(texts, output.scores, strict=False)]


def _detector_width(width: int) -> int:
    return min(width, _DETECTOR_WIDTH)


def _padded(line: Luma) -> Luma:
    """Return a line of the recogniser's height in colour, widened to the next bucket with its own edge's brightness."""
    height, width = line.shape
    wide = max(1, round(width * _LINE_ROWS / height))
    interpolation = cv2.INTER_AREA if height > _LINE_ROWS else cv2.INTER_CUBIC
    scaled = cv2.resize(line, (wide, _LINE_ROWS), interpolation=interpolation)
    bucket = -(-wide // _FULL_WIDTH_STEP) * _FULL_WIDTH_STEP
    padded = cv2.copyMakeBorder(scaled, 0, 0, 0, bucket - wide, cv2.BORDER_REPLICATE)
    return np.asarray(cv2.cvtColor(padded, cv2.COLOR_GRAY2BGR), np.uint8)


def load(threads: int) -> RapidEngine:
    """Load the engine; `threads` cores are used."""
    return RapidEngine(threads)
