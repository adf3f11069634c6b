"""What is sent though it is no film with subtitles: each has its right result, or a code that says what is wrong."""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from media.geometry import Region
from nodekit.testkit import NodeUnderTest
from services.ocr.film import probe
from services.ocr.node import node
from services.ocr.view import without_overlap
from tests.services.ocr.films import drawn, encoded

shared_loop = pytest.mark.asyncio(loop_scope="module")

SLIDES = (
    ("How tides arise", "The moon pulls the water", "The sun pulls it as well", "Twice a day it rises"),
    ("What sailors need", "A table of the hours", "Depth under the keel", "A clock that is right"),
    ("Where it is highest", "Narrow bays of the north", "Mouths of large rivers", "Nowhere in the open sea"),
)
_SLIDE_FRAMES = 50


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def under_test(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[NodeUnderTest]:
    """A replica of the node."""
    roots = (tmp_path_factory.getbasetemp(),)
    async with NodeUnderTest(node, tmp_path_factory.mktemp("odd"), allowed_roots=roots) as replica:
        yield replica


def talk(path: Path) -> Path:
    """A talk: slides full of text, one cut hard after the other, and a mark that stays."""
    graph = [
        drawn(
            line,
            number * _SLIDE_FRAMES,
            (number + 1) * _SLIDE_FRAMES,
            x=str(30 + 20 * bool(row)),
            y=str(14 + 60 * row),
        )
        for number, slide in enumerate(SLIDES)
        for row, line in enumerate(slide)
    ]
    mark = drawn("Lecture 4", 0, 1000, x="360", y="242").replace("fontsize=26", "fontsize=18")
    return encoded(
        path, [*graph, mark], _SLIDE_FRAMES * len(SLIDES), source="color=c=0x204060:s=480x270:r=25"
    )


@pytest.mark.slow
@shared_loop
async def test_a_talk_with_text_everywhere(under_test: NodeUnderTest, tmp_path: Path) -> None:
    """Each slide is one cue with its own frames, whether the whole picture is asked for or zones are looked for; of the lower
    third it is the last line. What stays is no subtitle.
    """
    film = talk(tmp_path / "talk.mkv")
    asked: tuple[tuple[dict[str, object], list[str]], ...] = (
        ({}, [slide[-1] for slide in SLIDES]),
        ({"subtitle_area": [0, 0, 480, 270]}, ["\n".join(slide) for slide in SLIDES]),
        ({"find_zones": True}, ["\n".join(slide) for slide in SLIDES]),
    )
    for number, (more, texts) in enumerate(asked):
        result = await under_test.run(
            "paddleocr.extract_subtitles", {"video_path": str(film), **more}, task_id=f"talk-{number}"
        )
        assert result.outcome == "completed", result.error
        read = json.loads(result.file("json_file").read_text())["subtitles"]
        assert [(one["startTime"], one["endTime"], one["text"]) for one in read] == [
            (2.0 * place, 2.0 * (place + 1), text) for place, text in enumerate(texts)
        ]
        zones = [Region.from_corners(*corners) for corners in result.output["zones"]]
        assert sum(zone.width * zone.height for zone in zones) <= 480 * 270  # nothing is read twice


@pytest.mark.slow
@shared_loop
async def test_what_holds_no_frame_is_told_by_its_code(under_test: NodeUnderTest, tmp_path: Path) -> None:
    """A file without a byte, one whose frames are missing, a picture, a song with a cover: each fails at once, and says why."""
    run = ["ffmpeg", "-v", "error", "-f", "lavfi"]
    picture, cover, whole = tmp_path / "picture.png", tmp_path / "cover.mp3", tmp_path / "whole.mp4"
    subprocess.run([*run, "-i", "color=s=320x180", "-frames:v", "1", str(picture)], check=True)
    with_cover = [
        "-i",
        str(picture),
        "-map",
        "0",
        "-map",
        "1",
        "-c:v",
        "copy",
        "-disposition:v",
        "attached_pic",
    ]
    subprocess.run([*run, "-i", "sine=d=0.2", *with_cover, str(cover)], check=True)
    pieces = ["-movflags", "frag_keyframe+empty_moov", str(whole)]
    subprocess.run([*run, "-i", "color=s=320x180:d=0.2", *pieces], check=True)
    header = tmp_path / "header.mp4"
    header.write_bytes(whole.read_bytes().partition(b"moof")[0][:-4])
    empty = tmp_path / "empty.mp4"
    empty.touch()
    codes = {
        empty: "MEDIA_UNREADABLE",
        header: "NO_FRAMES",
        picture: "MEDIA_IS_PICTURE",
        cover: "NO_VIDEO_STREAM",
    }
    for path, code in codes.items():
        result = await under_test.run(
            "paddleocr.extract_subtitles", {"video_path": str(path)}, task_id=path.stem
        )
        assert (result.outcome, result.error.code) == ("failed", code), path.name
        assert path.name in result.error.message or code == "MEDIA_IS_PICTURE"
    assert probe(whole).duration_seconds > 0  # the header alone makes the difference


def test_areas_that_lie_over_each_other_become_one() -> None:
    """Rows in two areas would be read twice; areas that only touch, or cross, stay as they are."""
    upper, lower, apart = Region(0, 50, 480, 100), Region(0, 140, 480, 90), Region(0, 240, 480, 30)
    column = Region(400, 0, 60, 270)
    assert without_overlap((upper, apart, lower)) == (Region(0, 50, 480, 180), apart)
    assert without_overlap((upper, column)) == (column, upper)


@shared_loop
async def test_a_picture_of_one_row_has_no_subtitles(under_test: NodeUnderTest, tmp_path: Path) -> None:
    """A film too low for a third of it to be a row is read whole: no cues, which is no error."""
    film = tmp_path / "thin.mkv"
    source = ["-f", "lavfi", "-i", "color=s=64x64:d=1:r=5", "-vf", "scale=640:1,setsar=1,format=gray"]
    subprocess.run(["ffmpeg", "-v", "error", *source, "-c:v", "ffv1", str(film)], check=True)
    result = await under_test.run("paddleocr.extract_subtitles", {"video_path": str(film)}, task_id="thin")
    output = result.output
    assert output["subtitles_count"] == 0
    assert output["subtitle_area"] == [0, 0, 640, 1]


@pytest.mark.slow
@shared_loop
async def test_half_a_film_is_read_and_said_to_be_half(under_test: NodeUnderTest, tmp_path: Path) -> None:
    """What a film that was cut off holds is read, and the result says that there was more; a whole one has no warning."""
    film = talk(tmp_path / "talk.mkv")
    whole = await under_test.run("paddleocr.extract_subtitles", {"video_path": str(film)}, task_id="whole")
    assert whole.output["warnings"] == []
    film.write_bytes(film.read_bytes()[: film.stat().st_size // 2])
    half = await under_test.run("paddleocr.extract_subtitles", {"video_path": str(film)}, task_id="half")
    assert half.outcome == "completed", half.error
    assert 0 < half.output["subtitles_count"] < whole.output["subtitles_count"]
    assert "talk.mkv promises 6.000 s" in half.output["warnings"][0]
