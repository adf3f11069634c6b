"""Which engine a task gets, what is said where it can have none, and who reads a language; without PaddleOCR's packages."""

from __future__ import annotations

from pathlib import Path

import pytest

from nodekit.testkit import NodeUnderTest
from services.ocr import engines
from services.ocr.by_script import ScriptEngine
from services.ocr.engine import Runs
from services.ocr.engines import choose, engines_here
from services.ocr.faults import OcrFault
from services.ocr.languages import languages_of_recogniser
from services.ocr.node import node
from services.ocr.pp_ocr import PpOcrEngine
from services.ocr.settings import EngineName, OcrSection, ocr_settings
from services.ocr.tesseract import Tesseract
from tests.services.ocr.paddle_folders import DETECTOR, RECOGNISER, written

NOWHERE = Path("/nowhere")


@pytest.fixture
def folders(tmp_path: Path) -> OcrSection:
    """Both folders, the detector's below the model store."""
    written(tmp_path / "store/det", DETECTOR)
    return OcrSection(
        detector_folder=Path("det"), recogniser_folder=written(tmp_path / "rec", RECOGNISER), memory_mib=700
    )


@pytest.fixture
def packages(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Versions of packages that are said to be installed."""
    found = {"rapidocr": "3.10.0"}
    monkeypatch.setattr(engines, "_version", lambda package: found.get(package, ""))
    return found


def fault(name: EngineName, settings: OcrSection, store: Path = NOWHERE) -> tuple[str, str, str]:
    with pytest.raises(OcrFault) as caught:
        choose(name, settings, store, 1)
    return caught.value.code, caught.value.field, caught.value.message


def test_auto_takes_paddleocr_where_its_folders_are_set(
    folders: OcrSection, packages: dict[str, str], tmp_path: Path
) -> None:
    """Folders bring the engine; a task, and before it the setting, may name the other one; a relative folder is below the store."""
    packages["paddleocr"] = "3.7.0"
    store = tmp_path / "store"
    assert choose("auto", OcrSection(), store, 1).name == "rapidocr"
    assert choose("auto", folders, store, 1).name == "paddleocr"
    assert choose("auto", folders, store, 1).models == f"{DETECTOR}+{RECOGNISER}"
    assert choose("rapidocr", folders, store, 1).name == "rapidocr"
    fixed = folders.model_copy(update={"engine": "rapidocr"})
    assert choose("auto", fixed, store, 1).name == "rapidocr"
    assert choose("paddleocr", fixed, store, 1).name == "paddleocr"
    assert engines_here(folders, store) == ["rapidocr/3.10.0", f"paddleocr/{DETECTOR}+{RECOGNISER}"]
    assert engines_here(OcrSection(), store) == ["rapidocr/3.10.0"]


def test_a_card_is_asked_for_where_paddle_can_use_one(
    folders: OcrSection, packages: dict[str, str], tmp_path: Path
) -> None:
    """By the setting, or by the build that is installed; RapidOCR asks for none."""
    packages["paddleocr"] = "3.7.0"

    def memory(device: str) -> int | None:
        return choose("auto", folders.model_copy(update={"device": device}), tmp_path / "store", 1).memory_mib

    assert [memory(device) for device in ("cpu", "auto", "cuda")] == [None, None, 700]
    packages["paddlepaddle-gpu"] = "3.3.1"
    assert [memory(device) for device in ("cpu", "auto", "cuda")] == [None, 700, 700]
    assert choose("rapidocr", folders, tmp_path / "store", 1).memory_mib is None


def test_what_is_missing_is_said_with_its_setting(
    folders: OcrSection, packages: dict[str, str], tmp_path: Path
) -> None:
    """No folder, half of them, no packages: each has its code, and the field of the task that asked for the engine."""
    code, field, message = fault("paddleocr", OcrSection())
    assert (code, field) == ("MODEL_MISSING", "/engine")
    assert "ocr.detector_folder is not set" in message
    half = OcrSection(detector_folder=tmp_path / "store/det")
    code, field, message = fault("auto", half)
    assert (code, field) == ("MODEL_MISSING", "")
    assert "ocr.recogniser_folder is not set" in message
    code, _, message = fault("auto", folders, tmp_path)
    assert (code, message) == ("MODEL_MISSING", f"ocr.detector_folder: {tmp_path / 'det'} is no folder")
    code, _, message = fault("auto", folders, tmp_path / "store")
    assert (code, "make environment name=paddle" in message) == ("ENGINE_MISSING", True)
    assert engines_here(folders, tmp_path / "store") == ["rapidocr/3.10.0"]
    packages.clear()
    code, field, message = fault("auto", OcrSection())
    assert (code, field, "ocr.detector_folder" in message) == ("ENGINE_MISSING", "", True)


async def test_a_task_is_told_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """A bad folder of the settings fails every task that reads, at once, with the setting's name and not the network's error."""
    monkeypatch.setenv("YIVIDEO_OCR__DETECTOR_FOLDER", str(written(tmp_path / "det", RECOGNISER)))
    monkeypatch.setenv("YIVIDEO_OCR__RECOGNISER_FOLDER", str(tmp_path / "nothing"))
    ocr_settings.cache_clear()
    request.addfinalizer(ocr_settings.cache_clear)
    missing = str(tmp_path / "missing")
    tasks: dict[str, dict[str, object]] = {
        "extract_subtitles": {"video_path": missing},
        "detect_subtitle_area": {"keyframe_dir": missing},
        "perform_ocr": {"manifest_path": missing, "multi_frames_path": missing},
        "read_images": {"images": [missing], "engine": "paddleocr"},
    }
    async with NodeUnderTest(node, tmp_path / "node", allowed_roots=(tmp_path,)) as under_test:
        for name, given in tasks.items():
            result = await under_test.run(f"paddleocr.{name}", given, task_id=name)
            assert (result.outcome, result.error.code) == ("failed", "MODEL_UNSUITABLE"), result.error
            assert result.error.message.startswith("ocr.detector_folder: ")
            assert not result.error.retryable


class Own(PpOcrEngine):
    """A recogniser of some languages that reads nothing."""

    name = "own"

    def __init__(self, recogniser: str) -> None:
        super().__init__()
        self.recogniser, self.languages = recogniser, languages_of_recogniser(recogniser)

    def _detect(self, picture: object) -> list[object]:  # type: ignore[override]
        return []

    def _recognise(self, lines: object) -> list[tuple[str, float]]:
        return []


def test_who_reads_a_language_is_told_by_the_recognisers_name() -> None:
    """Its own languages are its; others Tesseract's where installed; what nobody reads is said with the setting."""
    engine = ScriptEngine(Own("korean_PP-OCRv5_mobile_rec"), Tesseract())
    for language in ("auto", "ko", "en"):
        engine.begin(language, Runs())
        assert engine.name == "own"
    engine.begin("ru", Runs())
    assert engine.name == "own+tesseract-rus"
    with pytest.raises(OcrFault) as caught:
        engine.begin("zh", Runs())
    assert (caught.value.code, caught.value.field) == ("LANGUAGE_UNAVAILABLE", "/language")
    assert "korean_PP-OCRv5_mobile_rec" in caught.value.message
    assert languages_of_recogniser("PP-OCRv5_server_rec") == {"zh", "en", "ja"}
    assert languages_of_recogniser("my_own_rec") == frozenset()
