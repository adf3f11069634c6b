"""Films read over real gRPC, by the real engine."""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from nodekit.testkit import NodeUnderTest
from services.ocr.node import node

FONT_SIZE = 26
shared_loop = pytest.mark.asyncio(loop_scope="module")
"""Of tests that share one replica of the node, whose models are loaded once."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def under_test(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[NodeUnderTest]:
    """A replica of the node."""
    roots = (tmp_path_factory.getbasetemp(),)
    async with NodeUnderTest(node, tmp_path_factory.mktemp("ocr"), allowed_roots=roots) as replica:
        yield replica


def burned(path: Path, cues: list[tuple[int, int, str]], *, frames: int = 50, varying: bool = False) -> Path:
    """A film of 25 frames a second, 480 × 270, that shows each text from its first frame up to (not with) its last one."""
    drawn = [
        f"drawtext=text='{text}':fontsize={FONT_SIZE}:fontcolor=white:borderw=3:x=(w-tw)/2:y=220:"
        f"enable='between(n,{first},{last - 1})'"
        for first, last, text in cues
    ]
    graph = [*drawn, *(["select='not(eq(mod(n,3),1))'"] if varying else []), "format=yuv420p"]
    source = ["-f", "lavfi", "-i", "gradients=s=480x270:r=25:speed=0.02:seed=5"]
    written = [
        "-frames:v",
        str(frames),
        "-fps_mode",
        "passthrough",
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
    ]
    argv = ["ffmpeg", "-v", "error", "-y", *source, "-vf", ",".join(graph), *written, str(path)]
    subprocess.run(argv, check=True)
    return path


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
    for name in ("list.m3u8", "list.mp4"):
        request = {"video_path": str(tmp_path / name)}
        result = await under_test.run("paddleocr.extract_subtitles", request, task_id=name.replace(".", "-"))
        assert (result.outcome, result.error.code) == ("failed", "MEDIA_UNREADABLE")
