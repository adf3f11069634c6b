"""RapidOCR as an engine: PP-OCRv6 in ONNX, its models inside the package; reads Chinese, English, Japanese and Latin script."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from services.ocr.languages import OWN_LANGUAGES
from services.ocr.pp_ocr import LINES_A_RUN, MAX_SIDE, PpOcrEngine

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DETECTOR, RECOGNISER = "PP-OCRv6_det_small", "PP-OCRv6_rec_small"
"""Files inside the package, less `.onnx`."""


class RapidEngine(PpOcrEngine):
    """RapidOCR's detector and recogniser."""

    name = "rapidocr"
    languages = OWN_LANGUAGES
    recogniser = RECOGNISER

    def __init__(self, threads: int) -> None:
        super().__init__()
        import rapidocr
        from rapidocr.ch_ppocr_rec.typings import TextRecInput

        from nodekit.models.onnx_session import open_session

        logging.getLogger("RapidOCR").setLevel(logging.ERROR)
        rapid = rapidocr.RapidOCR(
            params={
                # By default the short side is scaled up to 736: a strip would become a wall.
                "Det.limit_type": "max",
                "Det.limit_side_len": MAX_SIDE,
                "Rec.rec_batch_num": LINES_A_RUN,
                "Global.use_cls": False,
                "Global.log_level": "error",
            }
        )
        # Its own sessions spin while they wait, which no parameter turns off.
        rapid.cfg._set_flag("allow_objects", True)
        models = Path(rapidocr.__file__).with_name("models")
        rapid.cfg.Det.session = open_session(models / f"{DETECTOR}.onnx", threads)
        rapid.cfg.Rec.session = open_session(models / f"{RECOGNISER}.onnx", threads)
        # The package (pinned) loads its models on the first whole picture; its parts are what is used here.
        self._detector = rapid._load_det_model()  # type: ignore[no-untyped-call]
        self._recogniser = rapid._load_rec_model()  # type: ignore[no-untyped-call]
        self._input = TextRecInput

    def _detect(self, picture: NDArray[np.uint8]) -> Iterable[NDArray[Any]]:
        self._detector.limit_side_len = max(picture.shape[:2])
        boxes: Iterable[NDArray[Any]] | None = self._detector(picture).boxes
        return boxes if boxes is not None else ()

    def _recognise(self, lines: Sequence[NDArray[np.uint8]]) -> Sequence[tuple[str, float]]:
        output = self._recogniser(self._input(img=list(lines)))
        if output.txts is None:
            return [("", 0.0)] * len(lines)
        return [(text, float(score)) for text, score in zip(output.txts, output.scores, strict=True)]
