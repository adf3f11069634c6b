"""Films read over real gRPC, by the real engine."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from prometheus_client import REGISTRY
from rapidfuzz.distance import Levenshtein

from nodekit.testkit import NodeUnderTest
from runtime.structs import from_struct
from services.ocr.node import node
from services.ocr.tesseract import Tesseract
from tests.services.ocr.films import burned, drawn, encoded
from yivideo.task.v1 import task_pb2

shared_loop = pytest.mark.asyncio(loop_scope="module")
"""Of tests that share one replica of the node, whose models are loaded once."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def under_test(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[NodeUnderTest]:
    """A replica of the node."""
    roots = (tmp_path_factory.getbasetemp(),)
    async with NodeUnderTest(node, tmp_path_factory.mktemp("ocr"), allowed_roots=roots) as replica:
        yield replica


@shared_loop
async def test_cues_have_the_exact_frames(under_test: NodeUnderTest, tmp_path: Path) -> None:
    """Back-to-back cues stay two, each with the times of its own frames; all files say the same."""
    film = burned(tmp_path / "film.mkv", [(5, 20, "I can see the boat"), (20, 35, "I can see the coat")])
    request = {"video_path": str(film), "formats": ["srt", "vtt", "ass", "json"]}
    result = await under_test.run("paddleocr.extract_subtitles", request)
    assert result.outcome == "completed", result.error
    assert (result.output["subtitles_count"], result.output["frames"]) == (2, 50)
    read = json.loads(result.file("json_file").read_text())["subtitles"]
    assert [(one["startTime"], one["endTime"], one["text"]) for one in read] == [
        (0.2, 0.8, "I can see the boat"),
        (0.8, 1.4, "I can see the coat"),
    ]
    assert "00:00:00,200 --> 00:00:00,800\nI can see the boat\n" in result.file("srt_file").read_text()
    assert "00:00:00.800 --> 00:00:01.400\nI can see the coat\n" in result.file("vtt_file").read_text()
    assert "0:00:00.20,0:00:00.80,Default" in result.file("ass_file").read_text()


def _speed() -> tuple[float, float]:
    """How many films were read, and their seconds, as monitoring has it."""
    names = ("yivideo_task_realtime_factor_count", "yivideo_task_media_seconds_total")
    labels = {"task_name": "paddleocr.extract_subtitles"}
    films, seconds = (REGISTRY.get_sample_value(name, labels) or 0.0 for name in names)
    return films, seconds


@shared_loop
async def test_the_second_film_finds_the_engine_loaded(under_test: NodeUnderTest, tmp_path: Path) -> None:
    """A film that was read to its end leaves the engine as it was; the result says what has read, and why; monitoring how fast."""
    film = burned(tmp_path / "film.mkv", [(5, 20, "Warm")], frames=30)
    request = {"video_path": str(film), "engine": "rapidocr"}
    counted = _speed()
    for task_id in ("cold", "warm"):
        result = await under_test.run("paddleocr.extract_subtitles", request, task_id=task_id)
        assert result.outcome == "completed", result.error
    assert result.output["load_seconds"] == 0
    said = [result.output[name] for name in ("engine", "engine_reason", "device", "engine_models")]
    assert said == ["rapidocr", "it was asked for", "cpu", "PP-OCRv6_det_small+PP-OCRv6_rec_small"]
    now = _speed()
    assert now[0] == counted[0] + 2
    assert now[1] == pytest.approx(counted[1] + 2 * 30 / 25)


@shared_loop
async def test_times_of_a_film_of_varying_rate_are_true(under_test: NodeUnderTest, tmp_path: Path) -> None:
    """Frames are not counted: an edge has the timestamp of its own frame."""
    film = burned(tmp_path / "film.mkv", [(9, 33, "Where is it?")], varying=True)
    result = await under_test.run("paddleocr.extract_subtitles", {"video_path": str(film)})
    (one,) = json.loads(result.file("json_file").read_text())["subtitles"]
    assert (one["startTime"], one["endTime"]) == (0.36, 1.32)


@pytest.mark.slow
@shared_loop
async def test_what_is_no_film_or_says_nothing(under_test: NodeUnderTest, tmp_path: Path) -> None:
    """No subtitles are no error; no media, no picture and an area outside of it are, each with its code."""
    silent = burned(tmp_path / "silent.mkv", [], frames=10)
    (tmp_path / "text.mp4").write_text("no film")
    sound = tmp_path / "sound.wav"
    subprocess.run(["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "sine=d=0.2", str(sound)], check=True)

    async def read(path: Path, **more: object) -> tuple[str, object]:
        result = await under_test.run("paddleocr.extract_subtitles", {"video_path": str(path), **more})
        done = result.outcome == "completed"
        return result.outcome, result.output["subtitles_count"] if done else result.error.code

    assert await read(silent) == ("completed", 0)
    assert await read(tmp_path / "text.mp4") == ("failed", "MEDIA_UNREADABLE")
    assert await read(sound) == ("failed", "NO_VIDEO_STREAM")
    assert await read(silent, subtitle_area=[500, 0, 600, 100]) == ("failed", "AREA_OUTSIDE_FRAME")


@shared_loop
async def test_a_playlist_reads_no_other_film(under_test: NodeUnderTest, tmp_path: Path) -> None:
    """A text that makes ffmpeg open another file is refused, whatever it is called; so no input reads what it was not given."""
    film = burned(tmp_path / "film.mkv", [(5, 20, "A secret")], frames=30)
    subprocess.run(
        ["ffmpeg", "-v", "error", "-i", str(film), "-c", "copy", str(tmp_path / "part.ts")], check=True
    )
    lines = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1.2,\npart.ts\n#EXT-X-ENDLIST\n"
    (tmp_path / "list.m3u8").write_text(lines)
    (tmp_path / "list.mp4").write_text(f"ffconcat version 1.0\nfile {film}\n")
    still = ["-frames:v", "1", str(tmp_path / "still.png")]
    subprocess.run(["ffmpeg", "-v", "error", "-i", str(film), *still], check=True)
    for name in ("list.m3u8", "list.mp4", "still.png"):
        request = {"video_path": str(tmp_path / name)}
        result = await under_test.run("paddleocr.extract_subtitles", request, task_id=name.replace(".", "-"))
        code = "MEDIA_IS_PICTURE" if name == "still.png" else "MEDIA_FORMAT_REFUSED"
        assert (result.outcome, result.error.code) == ("failed", code)


@pytest.mark.slow
@shared_loop
async def test_an_upright_picture_with_square_pixels_is_read(
    under_test: NodeUnderTest, tmp_path: Path
) -> None:
    """A film that lies on its side, or whose pixels are not square, is read as a viewer sees it, boxes and all."""
    cue = drawn("Where is it now?", 5, 30)
    whole = encoded(tmp_path / "whole.mp4", [cue], 40)
    squeezed = encoded(tmp_path / "squeezed.mkv", [cue, "scale=360:270", "setsar=4/3"], 40)
    lying = tmp_path / "lying.mp4"
    flat = encoded(tmp_path / "flat.mkv", [cue, "transpose=clock"], 40)
    copied = ["-c", "copy", "-metadata:s:v:0", "rotate=90", str(lying)]
    subprocess.run(["ffmpeg", "-v", "error", "-i", str(flat), *copied], check=True)
    boxes = []
    for film in (whole, squeezed, lying):
        result = await under_test.run(
            "paddleocr.extract_subtitles", {"video_path": str(film)}, task_id=film.stem
        )
        (one,) = json.loads(result.file("json_file").read_text())["subtitles"]
        assert (one["startTime"], one["endTime"], one["text"]) == (0.2, 1.2, "Where is it now?")
        assert result.output["subtitle_area"] == [0, 180, 480, 270]
        boxes.append(one["lines"][0]["bbox"])
    for box in boxes[1:]:
        assert all(abs(mine - other) <= 8 for mine, other in zip(box, boxes[0], strict=True))


@pytest.mark.slow
@shared_loop
async def test_a_picture_that_grows_midway_stays_one_film(under_test: NodeUnderTest, tmp_path: Path) -> None:
    """A recording whose picture changes its size is read to the end, each cue in the pixels of the size that the header says."""
    small = encoded(tmp_path / "1.h264", [drawn("The first half", 5, 30)], 40, "-bf", "0")
    grown = [drawn("The second half", 5, 30), "scale=960:540"]
    large = encoded(tmp_path / "2.h264", grown, 40, "-bf", "0")
    (tmp_path / "both.h264").write_bytes(small.read_bytes() + large.read_bytes())
    film = tmp_path / "both.mkv"
    argv = ["ffmpeg", "-v", "error", "-fflags", "+genpts", "-r", "25", "-i", str(tmp_path / "both.h264")]
    subprocess.run([*argv, "-c", "copy", str(film)], check=True)
    result = await under_test.run("paddleocr.extract_subtitles", {"video_path": str(film)})
    read = json.loads(result.file("json_file").read_text())["subtitles"]
    assert [(one["startTime"], one["endTime"], one["text"]) for one in read] == [
        (0.2, 1.2, "The first half"),
        (1.8, 2.8, "The second half"),
    ]


@pytest.mark.slow
@shared_loop
async def test_zones_are_found_or_given(under_test: NodeUnderTest, tmp_path: Path) -> None:
    """Cues at the top and at the bottom are read in one pass, whether areas are given or looked for; a logo is told, and no cue."""
    cues = [
        drawn("At the bottom", 5, 40),
        drawn("Up at the top", 60, 95, y="20"),
        drawn("Down once more", 110, 145),
        drawn("And up again", 160, 195, y="20"),
        drawn("LOGO", 0, 1000, x="400", y="120"),
    ]
    film = encoded(tmp_path / "film.mkv", cues, 225, "-g", "3")
    expected = ["At the bottom", "Up at the top", "Down once more", "And up again"]
    asked: tuple[dict[str, object], ...] = (
        {"find_zones": True},
        {"zones": [[0, 0, 480, 60], [0, 200, 480, 270]]},
    )
    for number, more in enumerate(asked):
        request = {"video_path": str(film), **more}
        result = await under_test.run("paddleocr.extract_subtitles", request, task_id=f"zones-{number}")
        read = json.loads(result.file("json_file").read_text())["subtitles"]
        assert [one["text"] for one in read] == expected
        assert [(one["startTime"], one["endTime"]) for one in read] == [
            (0.2, 1.6),
            (2.4, 3.8),
            (4.4, 5.8),
            (6.4, 7.8),
        ]
        assert len(result.output["zones"]) == 2
        assert [one["lines"][0]["bbox"][1] < 60 for one in read] == [False, True, False, True]


@pytest.mark.slow
@shared_loop
async def test_a_process_that_is_killed_is_replaced_where_it_was(
    under_test: NodeUnderTest, tmp_path: Path
) -> None:
    """Minutes of film that were read are not read again, by another process or another attempt, and nothing is lost or doubled."""
    cues = [(number * 100 + 20, number * 100 + 70, f"This is line {number}") for number in range(40)]
    film = burned(tmp_path / "film.mkv", cues, frames=4000)
    seen: list[float] = []

    def kill_once(event: task_pb2.TaskEvent) -> None:
        if event.HasField("checkpoint") and not seen:
            seen.append(1.0)
            mine = [one for one in Path("/proc").iterdir() if one.name.isdigit() and _is_reader(one)]
            for one in mine:
                os.kill(int(one.name), signal.SIGKILL)

    request = {"video_path": str(film), "formats": ["json"]}
    result = await under_test.run(
        "paddleocr.extract_subtitles", request, on_event=kill_once, wait_seconds=300
    )
    assert result.outcome == "completed", result.error
    assert seen and any("goes on at 6" in line for line in result.logs())
    read = json.loads(result.file("json_file").read_text())["subtitles"]
    assert [one["text"] for one in read] == [text for _, _, text in cues]
    assert [(one["startTime"], one["endTime"]) for one in read] == [
        (first / 25, last / 25) for first, last, _ in cues
    ]
    saved = next(event.checkpoint.data for event in result.events if event.HasField("checkpoint"))
    again = await under_test.run(
        "paddleocr.extract_subtitles",
        request,
        attempt=2,
        task_id="another",
        checkpoint=from_struct(saved),
        wait_seconds=300,
    )
    assert again.output["resumed_at_seconds"] >= 60
    assert json.loads(again.file("json_file").read_text())["subtitles"] == read


def _is_reader(process: Path) -> bool:
    """Whether a process is one of ours that has the engine loaded."""
    try:
        parent = int((process / "stat").read_text().rsplit(")", 1)[1].split()[1])
        return parent == os.getpid() and "onnxruntime" in (process / "maps").read_text()
    except (OSError, IndexError):
        return False


@pytest.mark.slow
@shared_loop
async def test_a_cancelled_reading_leaves_what_it_has_when_asked(
    under_test: NodeUnderTest, tmp_path: Path
) -> None:
    """The lines read by then stand in the log as SRT, in order; the attempt ends as cancelled."""
    cues = [(number * 100 + 20, number * 100 + 70, f"This is line {number}") for number in range(40)]
    film = burned(tmp_path / "film.mkv", cues, frames=4000)
    cancelling: list[asyncio.Task[object]] = []

    def cancel(event: task_pb2.TaskEvent) -> None:
        if event.HasField("progress") and from_struct(event.progress.data).get("lines") and not cancelling:
            cancelling.append(asyncio.ensure_future(under_test.cancel("cancelled")))

    request = {"video_path": str(film), "partial_on_cancel": True}
    result = await under_test.run(
        "paddleocr.extract_subtitles", request, task_id="cancelled", on_event=cancel
    )
    assert result.outcome == "cancelled"
    partial = "".join(line.split("\n", 1)[1] for line in result.logs() if line.startswith("partial result"))
    assert partial.startswith("1\n00:00:00,800 --> 00:00:02,800\nThis is line 0\n")


@pytest.mark.slow
@shared_loop
async def test_other_scripts_are_found_out_or_asked_for(under_test: NodeUnderTest, tmp_path: Path) -> None:
    """Cyrillic is told from Latin letters of the same shape, in a film with both; what is not installed is refused."""
    installed = Tesseract().languages
    if "rus" not in installed:
        pytest.skip("tesseract-ocr-rus is not installed")
    cues = [(5, 40, "Где ты был вчера?"), (45, 80, "Nobody told me that"), (85, 120, "Мы ждали до утра")]
    film = burned(tmp_path / "film.mkv", cues, frames=130)
    result = await under_test.run("paddleocr.extract_subtitles", {"video_path": str(film)})
    read = json.loads(result.file("json_file").read_text())["subtitles"]
    assert [(one["startTime"], one["endTime"]) for one in read] == [
        (first / 25, last / 25) for first, last, _ in cues
    ]
    for one, (_, _, text) in zip(read, cues, strict=True):
        assert Levenshtein.distance(one["text"], text) <= 1, one["text"]
    assert result.output["engine"] == "rapidocr+tesseract-rus"
    if "tha" not in installed:
        request = {"video_path": str(film), "language": "th"}
        result = await under_test.run("paddleocr.extract_subtitles", request, task_id="thai")
        assert (result.outcome, result.error.code) == ("failed", "LANGUAGE_UNAVAILABLE")
        assert "tesseract-ocr-tha" in result.error.message
