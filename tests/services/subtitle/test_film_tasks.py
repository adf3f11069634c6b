"""Subtitles put into films and taken out again, by real ffmpeg."""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from media.languages import language_code
from nodekit.testkit import NodeUnderTest, TaskResult
from services.subtitle.node import node
from subtitles.cue import Cue
from subtitles.reading import parse_text
from subtitles.writing import to_ass, to_srt

NUMBERS = count(1)
CUES = [Cue(0.5, 1.0, "<i>Here</i> it is, {not a tag}"), Cue(1.4, 1.9, "你好，世界")]


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of black with a tone."""
    path = tmp_path_factory.mktemp("films") / "black.mp4"
    picture = ["-f", "lavfi", "-i", "color=black:s=320x240:r=10:d=2", "-f", "lavfi", "-i", "sine=d=2"]
    coded = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac"]
    subprocess.run(["ffmpeg", "-v", "error", *picture, *coded, str(path)], check=True)
    return path


@pytest.fixture
async def subtitle_node(tmp_path: Path, film: Path) -> AsyncIterator[NodeUnderTest]:
    """A replica of the node."""
    (tmp_path / "a.srt").write_text(to_srt(CUES), encoding="utf-8")
    async with NodeUnderTest(node, tmp_path, allowed_roots=(film.parent,)) as under_test:
        yield under_test


async def completed(under_test: NodeUnderTest, task: str, **task_input: Any) -> TaskResult:
    """Run a task that must succeed."""
    result = await under_test.run(f"wservice.{task}", task_input, task_id=f"f{next(NUMBERS)}")
    assert result.outcome == "completed", result.error
    return result


def brightness(film: Path, second: float) -> float:
    """How bright the lower half of a picture is."""
    grey = [
        "-ss",
        str(second),
        "-i",
        str(film),
        "-frames:v",
        "1",
        "-vf",
        "crop=iw:ih/2:0:ih/2",
        "-pix_fmt",
        "gray",
    ]
    raw = subprocess.run(
        ["ffmpeg", "-v", "error", *grey, "-f", "rawvideo", "-"], capture_output=True, check=True
    ).stdout
    return float(np.frombuffer(raw, np.uint8).mean())


def picture(film: Path, second: float) -> Any:
    """Return the brightness of every point of a frame."""
    raw = subprocess.run(
        ["ffmpeg", "-v", "error", "-ss", str(second), "-i", film, "-frames:v", "1", "-pix_fmt", "gray", "-f", "rawvideo", "-"],
        capture_output=True, check=True, timeout=60,
    ).stdout  # fmt: skip
    return np.frombuffer(raw, np.uint8).reshape(240, 320)


async def test_burned_subtitles_are_seen_when_they_are_said(
    subtitle_node: NodeUnderTest, film: Path, tmp_path: Path
) -> None:
    """The picture is bright under each cue, Chinese too, and black between them; sound and length stay."""
    result = await completed(
        subtitle_node,
        "burn_subtitles",
        video_path=str(film),
        subtitle_path=str(tmp_path / "a.srt"),
        preset="ultrafast",
    )
    made = result.file("video_path")
    shown = [brightness(made, second) for second in (0.2, 0.75, 1.2, 1.65)]
    assert shown[0] == shown[2] < min(shown[1], shown[3]) - 0.3
    streams = subprocess.run(
        [
            "ffprobe",
            "-v",
            "error",
            "-show_entries",
            "stream=codec_name:format=duration",
            "-of",
            "csv=p=0",
            str(made),
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert streams[:2] == ["h264", "aac"] and result.output["total_cues"] == 2
    assert result.output["duration"] == pytest.approx(float(streams[2]), abs=0.001)
    assert result.output["duration"] == pytest.approx(2.0, abs=0.03)


@pytest.mark.parametrize(
    ("mode", "least", "most"),
    [
        ("fill", 110, 150),
        pytest.param("blur", 110, 200, marks=pytest.mark.slow),
        pytest.param("box", 0, 20, marks=pytest.mark.slow),
    ],
)
async def test_old_text_is_covered_where_and_while_it_stands(
    subtitle_node: NodeUnderTest, tmp_path: Path, mode: str, least: float, most: float
) -> None:
    """In its time the place is like what is around it, or a bar; before, after and elsewhere the picture is what it was."""
    film, boxes = tmp_path / f"{mode}.mp4", tmp_path / f"{mode}.json"
    bars = ";".join(
        f"drawbox=x={x}:y=180:w=3:h=20:color=white:t=fill:enable='between(t,0.4,1.6)'"
        for x in range(100, 220, 9)
    ).replace(";", ",")
    subprocess.run(
        ["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", f"color=gray:s=320x240:r=25:d=2,{bars}",
         "-c:v", "libx264", "-crf", "10", film],
        check=True, timeout=60,
    )  # fmt: skip
    line = {"text": "old", "bbox": [200, 360, 440, 400]}
    cue = {"startTime": 0.4, "endTime": 1.6, "lines": [line]}
    boxes.write_text(json.dumps({"width": 640, "height": 480, "subtitles": [cue]}))
    (tmp_path / "new.srt").write_text("1\n00:00:01,900 --> 00:00:01,950\nnew\n")
    result = await completed(
        subtitle_node,
        "burn_subtitles",
        video_path=str(film),
        subtitle_path=str(tmp_path / "new.srt"),
        cover_path=str(boxes),
        cover=mode,
        crf=10,
    )
    assert result.output["covered_areas"] == 1
    made = result.file("video_path")
    before, during = (picture(made, second) for second in (0.1, 1.0))
    inside = during[182:198, 104:216].astype(float)
    assert least <= inside.mean() <= most
    assert inside.std() < picture(film, 1.0)[182:198, 104:216].std() / 3
    elsewhere = np.ones_like(during, bool)
    elsewhere[174:206, 94:226] = False
    assert np.abs(during.astype(int) - before)[elsewhere].max() <= 4
    assert np.abs(before.astype(int) - picture(film, 0.1)).max() <= 4


@pytest.mark.parametrize(("container", "codes"), [("mkv", ["eng", "chi"]), ("mp4", ["eng", "zho"])])
async def test_tracks_come_out_as_they_went_in(
    subtitle_node: NodeUnderTest, film: Path, tmp_path: Path, container: str, codes: list[str]
) -> None:
    """Two languages go in and come out with their tags, texts and times; a second round keeps them in front of a new one."""
    track = {"subtitle_path": str(tmp_path / "a.srt")}
    tracks = [
        {**track, "language": "en", "title": "English: all", "default": True},
        {**track, "language": "zh-Hans", "forced": True},
    ]
    made = await completed(
        subtitle_node, "mux_subtitles", video_path=str(film), tracks=tracks, container=container
    )
    again = await completed(
        subtitle_node,
        "mux_subtitles",
        video_path=str(made.file("video_path")),
        tracks=[{**track, "language": "de"}],
        container=container,
    )
    assert (made.output["total_tracks"], again.output["total_tracks"]) == (2, 3)
    found = await completed(
        subtitle_node,
        "extract_soft_subtitles",
        video_path=str(again.file("video_path")),
        languages=["en", "zh"],
    )
    listed = found.output["tracks"]
    assert [one["language"] for one in listed] == codes
    assert [(one["default"], one["forced"]) for one in listed] == [(True, False), (False, True)]
    for one in listed:
        cues = parse_text((found.root / one["subtitle_path"]).read_text(encoding="utf-8"))
        assert [cue.plain for cue in cues] == [cue.plain for cue in CUES]
        assert all(
            abs(a.start - b.start) < 0.05 and abs(a.end - b.end) < 0.05
            for a, b in zip(cues, CUES, strict=True)
        )


async def test_what_cannot_be_done_is_told_by_field(
    subtitle_node: NodeUnderTest, film: Path, tmp_path: Path
) -> None:
    """A film that is none, subtitles without a cue, a film without tracks."""
    (tmp_path / "none.srt").write_text("")
    empty_track = [{"subtitle_path": str(tmp_path / "none.srt"), "language": "en"}]
    wanted: list[tuple[str, dict[str, Any], str]] = [
        ("burn_subtitles", {"video_path": str(tmp_path / "a.srt"), "subtitle_path": str(tmp_path / "a.srt")}, "/video_path"),
        ("burn_subtitles", {"video_path": str(film), "subtitle_path": str(tmp_path / "none.srt")}, "/subtitle_path"),
        ("mux_subtitles", {"video_path": str(film), "tracks": empty_track}, "/tracks/0/subtitle_path"),
    ]  # fmt: skip
    for task, task_input, field in wanted:
        result = await subtitle_node.run(f"wservice.{task}", task_input, task_id=f"f{next(NUMBERS)}")
        assert (result.outcome, result.error.field) == ("failed", field), result.error
    empty = await completed(subtitle_node, "extract_soft_subtitles", video_path=str(film))
    assert (empty.output["subtitle_path"], empty.output["tracks"]) == (None, [])


def test_languages_are_called_as_containers_call_them() -> None:
    """Two letters, three of either kind, and regions give the container's own code; what is none is undetermined."""
    assert [language_code(name, "mkv") for name in ("de", "deu", "ger", "zh-Hans", "en_US", "xx")] == [
        "ger", "ger", "ger", "chi", "eng", "und",
    ]  # fmt: skip
    assert [language_code(name, "mp4") for name in ("de", "ger", "fre", "yue")] == [
        "deu",
        "deu",
        "fra",
        "yue",
    ]


async def test_a_late_clock_keeps_its_cues_in_place(
    subtitle_node: NodeUnderTest, film: Path, tmp_path: Path
) -> None:
    """In a film whose pictures begin a second after its clock's zero, cues stay on that clock through put in and burn."""
    late = tmp_path / "late.mkv"
    subprocess.run(
        ["ffmpeg", "-v", "error", "-itsoffset", "1", "-i", str(film), "-copyts", "-c", "copy", str(late)],
        check=True,
    )
    source = tmp_path / "late.srt"
    source.write_text(to_srt([cue.at(cue.start + 1, cue.end + 1) for cue in CUES]), encoding="utf-8")
    burned = await completed(
        subtitle_node, "burn_subtitles", video_path=str(late), subtitle_path=str(source), preset="ultrafast"
    )
    made = burned.file("video_path")
    assert brightness(made, 0.2) == brightness(made, 1.2) < brightness(made, 0.75) - 0.3
    put = await completed(
        subtitle_node,
        "mux_subtitles",
        video_path=str(late),
        tracks=[{"subtitle_path": str(source), "language": "en"}],
    )
    found = await completed(subtitle_node, "extract_soft_subtitles", video_path=str(put.file("video_path")))
    starts = [cue.start for cue in parse_text(found.file("subtitle_path").read_text(encoding="utf-8"))]
    # The film that is written begins at zero, and the cues with its pictures.
    assert starts == pytest.approx([cue.start for cue in CUES], abs=0.05)


@pytest.mark.parametrize(("sound", "container"), [("pcm_s16le", "mkv"), ("wmav2", "avi"), ("flac", "mkv")])
async def test_sound_that_mp4_cannot_hold_is_burned_all_the_same(
    subtitle_node: NodeUnderTest, film: Path, tmp_path: Path, sound: str, container: str
) -> None:
    """A film whose sound no MP4 has gets its subtitles, and its sound as AAC; put into MP4 by copy it is refused by the field."""
    other = tmp_path / f"other.{container}"
    recode = ["ffmpeg", "-v", "error", "-i", str(film), "-c:v", "copy", "-c:a", sound, str(other)]
    subprocess.run(recode, check=True)
    source = tmp_path / "a.srt"
    source.write_text(to_srt(CUES), encoding="utf-8")
    inputs = {"video_path": str(other), "subtitle_path": str(source), "preset": "ultrafast"}
    burned = await completed(subtitle_node, "burn_subtitles", **inputs)
    ask = [
        "ffprobe",
        "-v",
        "error",
        "-select_streams",
        "a",
        "-show_entries",
        "stream=codec_name",
        "-of",
        "csv=p=0",
    ]
    told = subprocess.run([*ask, str(burned.file("video_path"))], capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["aac"]
    tracks = [{"subtitle_path": str(source), "language": "en"}]
    put = {"video_path": str(other), "tracks": tracks, "container": "mp4"}
    result = await subtitle_node.run("wservice.mux_subtitles", put, task_id=f"f{next(NUMBERS)}")
    assert (result.error.code, result.error.field) == ("CONTAINER_UNFIT", "/container")
    assert sound in result.error.message


async def test_a_bad_byte_in_ass_is_no_bar(subtitle_node: NodeUnderTest, film: Path, tmp_path: Path) -> None:
    """An ASS file of which some bytes are damaged is drawn as far as it can be read."""
    source = tmp_path / "bad.ass"
    source.write_bytes(to_ass(CUES).encode() + "; Voilà l’été à côté du café\n".encode() + b"; \xff\n")
    result = await completed(
        subtitle_node, "burn_subtitles", video_path=str(film), subtitle_path=str(source), preset="ultrafast"
    )
    assert result.output["total_cues"] == len(CUES)
