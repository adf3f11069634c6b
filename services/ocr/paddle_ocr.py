"""PaddleOCR 3 as an engine: a detector and a recogniser from folders that a user has brought.

The packages are in an environment of their own (`requirements-paddle.in`), and imported only here, when the engine is loaded. What
is loaded are the package's two parts, each with its folder: its pipeline would add models of its own, and ask the network for them.
"""

from __future__ import annotations

import logging
import os
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from services.ocr.faults import FaultCode, OcrFault
from services.ocr.languages import languages_of_recogniser
from services.ocr.paddle_folder import NAME, PaddleFolder, PaddlePlace
from services.ocr.pp_ocr import PpOcrEngine

if TYPE_CHECKING:
    from numpy.typing import NDArray


class PaddleEngine(PpOcrEngine):
    """PaddleOCR's detector and recogniser, loaded."""

    name = NAME

    def __init__(self, place: PaddlePlace) -> None:
        """Load both. Raises OcrFault: MODEL_UNSUITABLE, DEVICE_UNAVAILABLE."""
        super().__init__(place.limit_side, place.batch_size)
        self.languages = languages_of_recogniser(place.recogniser.name)
        self.recogniser = place.recogniser.name
        with _quiet_import():
            import paddle
            import paddleocr
        # A signal is this process's own affair, and a crash the node's: Paddle prints a page about either.
        paddle.disable_signal_handler()
        self.device = _device(paddle, place.device)
        given = {
            "engine": "paddle_static",
            "device": "gpu:0" if self.device == "cuda" else "cpu",
            # Its default is ten threads, on any machine.
            "cpu_threads": place.threads,
            "enable_mkldnn": place.onednn,
        }
        limit = {"limit_type": "max", "limit_side_len": place.limit_side}
        with _told_of(place.detector, place):
            self._detector = _loaded(paddleocr.TextDetection, place.detector, **given, **limit)
            list(self._detect(np.zeros((64, 320, 3), np.uint8)))
        with _told_of(place.recogniser, place):
            self._recogniser = _loaded(paddleocr.TextRecognition, place.recogniser, **given)
            self._recognise([np.zeros((48, 320, 3), np.uint8)])

    def _detect(self, picture: NDArray[np.uint8]) -> Iterable[NDArray[Any]]:
        (found,) = self._detector.predict(picture)
        return [np.asarray(corners) for corners in found["dt_polys"]]

    def _recognise(self, lines: Sequence[NDArray[np.uint8]]) -> Sequence[tuple[str, float]]:
        # A run is as wide as its widest line: lines of one width go together.
        order = sorted(range(len(lines)), key=lambda number: lines[number].shape[1])
        found = self._recogniser.predict([lines[number] for number in order], batch_size=self._lines_a_run)
        said = dict(zip(order, found, strict=True))
        return [(str(said[n]["rec_text"]), float(said[n]["rec_score"])) for n in range(len(lines))]


def _device(paddle: Any, wanted: str) -> str:
    """Return cpu or cuda. Left alone PaddleOCR goes over to the processor with a warning where there is no card."""
    has_card = paddle.device.is_compiled_with_cuda() and paddle.device.cuda.device_count() > 0
    if wanted == "cuda" and not has_card:
        raise OcrFault(
            FaultCode.DEVICE_UNAVAILABLE, "ocr.device is cuda, and Paddle finds no GPU that it can use here"
        )
    return "cuda" if has_card and wanted != "cpu" else "cpu"


def _loaded(kind: Any, folder: PaddleFolder, **given: Any) -> Any:
    return kind(model_name=folder.name, model_dir=str(folder.path), **given)


@contextmanager
def _told_of(folder: PaddleFolder, place: PaddlePlace) -> Iterator[None]:
    """Turn whatever the packages' layers make of a model that does not load, or does not run, into words about its folder."""
    try:
        yield
    except Exception as error:
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        hint = "; ocr.onednn is on, without it more models run" if place.onednn else ""
        raise OcrFault(
            FaultCode.MODEL_UNSUITABLE,
            f"PaddleOCR cannot run {folder.name} from {folder.path}: {reason.strip()[:300]}{hint}",
        ) from error


@contextmanager
def _quiet_import() -> Iterator[None]:
    """Have the packages write into a folder that is there, ask nothing of the network, and say only what is wrong."""
    os.environ["PADDLE_PDX_DISABLE_MODEL_SOURCE_CHECK"] = "True"
    if not os.access(Path.home(), os.W_OK):
        # It makes folders there when it is imported, whether it needs them or not.
        os.environ.setdefault("PADDLE_PDX_CACHE_HOME", tempfile.mkdtemp(prefix="yivideo-paddlex-"))
    os.environ.setdefault("GLOG_minloglevel", "2")
    with warnings.catch_warnings():
        # It looks for a compiler's cache, which only its authors need.
        warnings.simplefilter("ignore")
        yield
    logging.getLogger("paddlex").setLevel(logging.ERROR)
