"""The settings section `ocr`."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Literal

from pydantic import Field

from runtime.settings import ProcessSettings, Section, load_settings

EngineName = Literal["auto", "rapidocr", "paddleocr"]


class OcrSection(Section):
    """What the node that reads can be told beside what every node can."""

    engine: EngineName = "auto"
    """Engine of tasks that name none. auto: PaddleOCR if its folders are set, else RapidOCR."""
    detector_folder: Path | None = None
    """Folder of a text detection model of PaddleOCR 3 (`inference.yml`, `.json`, `.pdiparams`), such as PP-OCRv5_server_det; a
    relative one is below the model store. Needs the environment `paddle`, and `recogniser_folder`."""
    recogniser_folder: Path | None = None
    """Folder of a text recognition model of PaddleOCR 3, such as PP-OCRv5_server_rec or korean_PP-OCRv5_mobile_rec; as above."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where PaddleOCR runs; auto: on a GPU where `paddlepaddle-gpu` is installed and finds one. RapidOCR runs on the processor."""
    memory_mib: int = Field(4096, ge=0)
    """GPU memory that PaddleOCR is leased, in MiB; 0: a whole card."""
    batch_size: int = Field(8, ge=1, le=64)
    """Lines that PaddleOCR's recogniser reads in one run."""
    limit_side: int = Field(3072, ge=256, le=3840, multiple_of=256)
    """Longest side, in pixels, of what PaddleOCR's detector sees at once (its `limit_side_len`, with `limit_type` max): several
    strips below each other. Less takes less memory."""
    onednn: bool = False
    """Whether PaddleOCR computes by oneDNN on the processor: faster, and some models fail with it (`services/ocr/README.md`)."""


class OcrSettings(ProcessSettings):
    """Settings of the process of the node that reads."""

    ocr: OcrSection = OcrSection()
    """The node's own."""


@functools.cache
def ocr_settings() -> OcrSection:
    """Read the section, once. Raises SettingsError."""
    return load_settings(OcrSettings).ocr
