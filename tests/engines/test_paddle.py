"""Laws of PaddleOCR as an engine: its real code loads folders of the documented form, and the node's tasks come to their end by it.

The tiny detector really finds what is bright, so that boxes and the times of lines mean something; what is read is noise.
"""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.engines.large_engine import LargeEngine, completed
from tests.engines.tiny_paddle import DETECTOR, RECOGNISER
from tests.services.ocr.films import drawn, encoded

pytestmark = [pytest.mark.engines, pytest.mark.timeout(1500)]

PADDLE = LargeEngine(
    "paddle",
    ("setup/environment.sh", "paddle"),
    "tests.engines.tiny_paddle",
    "services.ocr.node",
    "paddleocr.extract_subtitles",
)
MODELS = f"{DETECTOR}+{RECOGNISER}"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector and a recogniser."""
    folder = tmp_path_factory.mktemp("models")
    PADDLE.make(folder)
    return folder


@pytest.fixture
def watched_network() -> Iterator[dict[str, str]]:
    """The variables that send every request to an address here, to which nobody may have come at the end."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.setblocking(False)
        yield {
            **dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), address),
            "no_proxy": "127.0.0.1,localhost",
        }
        with pytest.raises(BlockingIOError):
            listener.accept()


def settings(models: Path, **more: str) -> dict[str, str]:
    """The settings that name the folders."""
    given = {"detector_folder": str(models / "det"), "recogniser_folder": str(models / "rec"), **more}
    return {f"YIVIDEO_OCR__{name.upper()}": value for name, value in given.items()}


def test_a_film_is_read_by_models_from_folders(
    models: Path, tmp_path: Path, watched_network: dict[str, str]
) -> None:
    """Lines are found where they stand and from first to last frame; both networks have run, and no request was made."""
    cues = [drawn("I can see the boat", 5, 20), drawn("Where is it now", 25, 40)]
    film = encoded(tmp_path / "film.mkv", cues, 50, source="color=c=black:s=480x270:r=25")
    given = {
        "video_path": str(film),
        "conf_threshold": 0.0,
        "language": "en",
        "drop_scene_text": False,
        "drop_static_text": False,
    }
    first, second = completed(PADDLE.results(tmp_path, given, {**settings(models), **watched_network}))
    assert (first["engine"], first["engine_models"], first["device"]) == ("paddleocr", MODELS, "cpu")
    assert (first["subtitles_count"], first["frames"]) == (2, 50)
    assert min(first["detector_calls"], first["recogniser_calls"]) >= 1
    assert first["load_seconds"] > 0
    assert second["load_seconds"] == 0, "the second task found the engine loaded"
    (path, *_) = sorted(tmp_path.rglob("film.json"))
    read = json.loads(path.read_text())["subtitles"]
    assert [(one["startTime"], one["endTime"]) for one in read] == [(0.2, 0.8), (1.0, 1.6)]
    for one in read:
        left, top, right, bottom = one["lines"][0]["bbox"]
        assert 180 <= top < bottom <= 270
        assert left < 240 < right


def picture(path: Path, boxes: list[tuple[int, int, int, int]]) -> Path:
    """A dark picture with bright places."""
    pixels = np.full((480, 900, 3), 20, np.uint8)
    for left, top, right, bottom in boxes:
        pixels[top:bottom, left:right] = 235
    cv2.imwrite(str(path), pixels)
    return path


def test_a_picture_has_its_boxes_in_its_own_pixels(models: Path, tmp_path: Path) -> None:
    """Boxes lie where the picture is bright, from the top to the bottom; confidences are between 0 and 1."""
    bright = [(100, 60, 700, 90), (200, 300, 800, 330)]
    given: dict[str, Any] = {
        "images": [str(picture(tmp_path / "one.png", bright))],
        "conf_threshold": 0.0,
        "language": "en",
        "engine": "paddleocr",
    }
    chosen = settings(models, batch_size="2", limit_side="1024")
    first, _ = completed(PADDLE.results(tmp_path, given, chosen, "paddleocr.read_images"))
    lines = first["images"][0]["lines"]
    assert len(lines) == len(bright)
    for line, place in zip(lines, bright, strict=True):
        assert 0 <= line["confidence"] <= 1
        left, top, right, bottom = line["bbox"]
        # PaddleOCR gives each box a margin, on all sides alike.
        assert left <= place[0] < place[2] <= right
        assert top <= place[1] < place[3] <= bottom
        assert ((left + right) / 2, (top + bottom) / 2) == pytest.approx(
            ((place[0] + place[2]) / 2, (place[1] + place[3]) / 2), abs=4
        )


def test_a_model_that_onednn_cannot_run_is_said_to_be_so(models: Path, tmp_path: Path) -> None:
    """What fails with oneDNN alone says which setting it hangs on. When a release of Paddle runs it, this fails: then turn the
    setting's default.
    """
    given = {"images": [str(picture(tmp_path / "one.png", [(100, 60, 700, 90)]))]}
    first, _ = PADDLE.results(tmp_path, given, settings(models, onednn="true"), "paddleocr.read_images")
    assert (first["outcome"], first["code"]) == ("failed", "MODEL_UNSUITABLE"), first
    assert "ocr.onednn is on" in first["message"]


@pytest.mark.parametrize("part", ["det", "rec"])
@pytest.mark.parametrize("damage", ["no network", ""])
def test_a_folder_that_cannot_be_loaded_is_said_to_be_so(
    models: Path, tmp_path: Path, part: str, damage: str, watched_network: dict[str, str]
) -> None:
    """A network that is none, and parameters that were cut short, are the folder's fault: no crash, no retry, no request."""
    damaged = tmp_path / "models"
    shutil.copytree(models, damaged)
    if damage:
        (damaged / part / "inference.json").write_text(damage)
    else:
        parameters = damaged / part / "inference.pdiparams"
        parameters.write_bytes(parameters.read_bytes()[:100])
    given = {"images": [str(picture(tmp_path / "one.png", [(100, 60, 700, 90)]))]}
    chosen = {**settings(damaged), **watched_network}
    first, _ = PADDLE.results(tmp_path, given, chosen, "paddleocr.read_images")
    assert (first["outcome"], first["code"]) == ("failed", "MODEL_UNSUITABLE"), first
    assert str(damaged / part) in first["message"]


def test_without_its_folders_the_environment_reads_nothing(
    models: Path, tmp_path: Path, watched_network: dict[str, str]
) -> None:
    """No folder, and one that lacks a file: the setting is named at once, and no hub is asked."""
    given = {"images": [str(picture(tmp_path / "one.png", [(100, 60, 700, 90)]))]}
    first, _ = PADDLE.results(tmp_path, given, watched_network, "paddleocr.read_images")
    assert (first["code"], "ocr.detector_folder" in first["message"]) == ("ENGINE_MISSING", True)
    lacking = tmp_path / "lacking"
    shutil.copytree(models, lacking)
    (lacking / "rec" / "inference.pdiparams").unlink()
    first, _ = PADDLE.results(
        tmp_path, given, {**settings(lacking), **watched_network}, "paddleocr.read_images"
    )
    assert (first["code"], first["message"].split(":")[0]) == ("MODEL_MISSING", "ocr.recogniser_folder")
