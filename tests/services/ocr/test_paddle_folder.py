"""What is said of model folders of PaddleOCR before PaddleOCR sees them; without its packages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.ocr.faults import OcrFault
from services.ocr.paddle_folder import Kind, read_folder
from tests.services.ocr.paddle_folders import DETECTOR, RECOGNISER, described, written

DETECTOR_SETTING = "ocr.detector_folder"


def refused(path: Path, kind: Kind = "detector", setting: str = DETECTOR_SETTING) -> tuple[str, str]:
    with pytest.raises(OcrFault) as caught:
        read_folder(path, kind, setting)
    assert caught.value.message.startswith(f"{setting}: {path}"), caught.value.message
    return caught.value.code, caught.value.message


def test_a_whole_folder_says_what_it_is(tmp_path: Path) -> None:
    """A folder of Paddle 3 and one of Paddle 2 are taken as what their description names."""
    assert read_folder(written(tmp_path / "det", DETECTOR), "detector", DETECTOR_SETTING).name == DETECTOR
    older = written(tmp_path / "older", RECOGNISER)
    (older / "inference.json").rename(older / "inference.pdmodel")
    assert read_folder(older, "recogniser", "ocr.recogniser_folder").name == RECOGNISER


@pytest.mark.parametrize("lacking", ["inference.yml", "inference.json", "inference.pdiparams"])
def test_a_file_that_is_missing_or_empty_is_named(tmp_path: Path, lacking: str) -> None:
    """The message has the setting, the folder and the file."""
    folder = written(tmp_path / "det", DETECTOR)
    (folder / lacking).write_bytes(b"")
    code, message = refused(folder)
    assert (code, message.split()[-1]) == ("MODEL_MISSING", lacking)
    (folder / lacking).unlink()
    assert refused(folder) == (code, message)


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    """A path that is not there and one that is a file are no folders."""
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "nothing", tmp_path / "file"):
        assert refused(path) == ("MODEL_MISSING", f"{DETECTOR_SETTING}: {path} is no folder")


def test_the_other_kind_of_model_is_told_by_name(tmp_path: Path) -> None:
    """Folders that were swapped are found out, each with its own setting."""
    code, message = refused(written(tmp_path / "rec", RECOGNISER))
    assert (code, f"{RECOGNISER} is a recogniser, and a detector is needed" in message) == (
        "MODEL_UNSUITABLE",
        True,
    )
    code, message = refused(written(tmp_path / "det", DETECTOR), "recogniser", "ocr.recogniser_folder")
    assert (code, f"{DETECTOR} is a detector, and a recogniser is needed" in message) == (
        "MODEL_UNSUITABLE",
        True,
    )


def _without_signs(text: str) -> str:
    found: dict[str, Any] = yaml.safe_load(text)
    del found["PostProcess"]["character_dict"]
    return yaml.safe_dump(found)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace("CTCLabelDecode", "Topk"), "neither detector nor recogniser"),
        (lambda text: text.replace(RECOGNISER, "PP-LCNet_x1_0"), "Global.model_name"),
        (_without_signs, "PostProcess.character_dict"),
        (lambda text: "- a list", "describes no model"),
        (lambda text: "a: [", "cannot be read"),
        (lambda text: "!!python/object/apply:os.getcwd []", "cannot be read"),
        (lambda text: "\x00\x01", "cannot be read"),
        (lambda text: "[" * 100_000, "cannot be read"),
    ],
)
def test_a_description_that_is_none_is_unsuitable(
    tmp_path: Path, change: Callable[[str], str], said: str
) -> None:
    """What is wrong with it is said; nothing in it runs."""
    folder = written(tmp_path / "rec", RECOGNISER)
    (folder / "inference.yml").write_text(change(described(RECOGNISER)))
    code, message = refused(folder, "recogniser", "ocr.recogniser_folder")
    assert (code, said in message) == ("MODEL_UNSUITABLE", True), message


def test_a_description_that_was_mended_is_read_again(tmp_path: Path) -> None:
    """What a folder was found to be does not outlive a change of it."""
    folder = written(tmp_path / "det", RECOGNISER)
    refused(folder)
    (folder / "inference.yml").unlink()
    written(folder, DETECTOR)
    assert read_folder(folder, "detector", DETECTOR_SETTING).name == DETECTOR
