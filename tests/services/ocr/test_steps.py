"""The origin system's four steps one after the other, and pictures read one by one, over real gRPC by the real engine."""

from __future__ import annotations

import json
import shutil
import subprocess
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from nodekit.testkit import NodeUnderTest, TaskResult
from services.ocr.node import node
from tests.conftest import ROOT
from tests.services.ocr.films import burned, encoded

shared_loop = pytest.mark.asyncio(loop_scope="module")
SHARED = ROOT.parent / "shared" / "media" / "ocr_images"
CUES = [(5, 20, "I can see the boat"), (20, 35, "I can see the coat"), (40, 50, "Yes")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def under_test(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[NodeUnderTest]:
    """A replica of the node."""
    roots = (tmp_path_factory.getbasetemp(),)
    async with NodeUnderTest(node, tmp_path_factory.mktemp("steps"), allowed_roots=roots) as replica:
        yield replica


def pictures(film: Path, folder: Path, graph: str, *more: str) -> Path:
    folder.mkdir()
    argv = ["ffmpeg", "-v", "error", "-i", str(film), "-vf", graph, *more, "-q:v", "2"]
    subprocess.run([*argv, str(folder / "%08d.jpg")], check=True, timeout=60)
    return folder


async def run(under_test: NodeUnderTest, name: str, **request: object) -> TaskResult:
    result = await under_test.run(f"paddleocr.{name}", request)
    assert result.outcome == "completed", result.error
    return result


async def refused(under_test: NodeUnderTest, name: str, **request: object) -> str:
    result = await under_test.run(f"paddleocr.{name}", request)
    assert result.outcome == "failed"
    return result.error.code


@shared_loop
async def test_the_four_steps_make_subtitles_of_a_film(under_test: NodeUnderTest, tmp_path: Path) -> None:
    """Pictures tell the area, strips are put together, read, and become subtitles with the times of true frames; the manifest and
    the texts have the origin's form.
    """
    film = burned(tmp_path / "film.mkv", CUES, frames=60)
    frames = pictures(film, tmp_path / "frames", "select='not(mod(n,6))'", "-fps_mode", "passthrough")
    area = (await run(under_test, "detect_subtitle_area", keyframe_dir=str(frames))).output
    left, top, right, bottom = area["subtitle_area"]
    assert (left, right) == (0, 480)
    assert 130 <= top <= 218 and 242 <= bottom <= 270
    assert area["detection_method"] == "zones" and area["keyframes_analyzed"] == 10
    strips = pictures(
        film, tmp_path / "strips", f"format=yuv444p,crop={right - left}:{bottom - top}:{left}:{top}"
    )
    stitched = await run(under_test, "create_stitched_images", cropped_images_path=str(strips))
    assert stitched.output["stitched_images_count"] == 6
    manifest = json.loads(stitched.file("manifest_path").read_text())
    height = bottom - top
    assert manifest["mf_00000002.jpg"]["stitched_height"] == 10 * height
    assert manifest["mf_00000002.jpg"]["sub_images"][1] == {
        "frame_idx": 12,
        "height": height,
        "y_offset": height,
        "x_offset": 0,
    }
    read = await run(
        under_test,
        "perform_ocr",
        manifest_path=stitched.output["manifest_path"],
        multi_frames_path=stitched.output["multi_frames_path"],
    )
    texts = json.loads(read.file("ocr_results_path").read_text())
    assert {number: said[0] for number, said in texts.items()} == {
        str(number + 1): text for first, last, text in CUES for number in range(first, last)
    }
    assert all(len(corners) == 4 and corners[2][1] <= height for _, corners in texts.values())
    final = await run(
        under_test,
        "postprocess_and_finalize",
        ocr_results_file=read.output["ocr_results_path"],
        video_path=str(film),
    )
    items = json.loads(final.file("json_file").read_text())
    assert [(one["startTime"], one["endTime"], one["text"], one["frameRange"]) for one in items] == [
        (first / 25, last / 25, text, [first + 1, last]) for first, last, text in CUES
    ]
    assert (
        final.file("srt_file")
        .read_text()
        .startswith("1\n00:00:00,200 --> 00:00:00,800\nI can see the boat\n")
    )


@pytest.mark.slow
@shared_loop
async def test_steps_take_archives_and_say_what_is_wrong(under_test: NodeUnderTest, tmp_path: Path) -> None:
    """A folder may come as an archive; what holds no picture, no text, or does not fit has a code of its own."""
    film = burned(tmp_path / "film.mkv", CUES, frames=60)
    frames = pictures(film, tmp_path / "frames", "select='not(mod(n,6))'", "-fps_mode", "passthrough")
    archive = Path(shutil.make_archive(str(tmp_path / "frames"), "zip", frames))
    found = await run(under_test, "detect_subtitle_area", keyframe_dir=str(archive), keyframe_sample_count=5)
    assert found.output["keyframes_analyzed"] == 5
    refuse = {"keyframe_dir": str(archive), "auto_decompress": False}
    assert await refused(under_test, "detect_subtitle_area", **refuse) == "ARCHIVE_REFUSED"
    with zipfile.ZipFile(tmp_path / "text.zip", "w") as packed:
        packed.writestr("readme.txt", "no pictures here")
    assert (
        await refused(under_test, "detect_subtitle_area", keyframe_dir=str(tmp_path / "text.zip"))
        == "NO_PICTURES"
    )
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "1.jpg").write_text("no picture")
    assert await refused(under_test, "detect_subtitle_area", keyframe_dir=str(bad)) == "PICTURE_UNREADABLE"
    assert (
        await refused(under_test, "create_stitched_images", cropped_images_path=str(bad))
        == "PICTURE_UNREADABLE"
    )
    plain = encoded(tmp_path / "plain.mkv", [], 5, source="color=navy:s=480x270:r=25")
    empty = pictures(plain, tmp_path / "empty", "null")
    assert await refused(under_test, "detect_subtitle_area", keyframe_dir=str(empty)) == "NO_TEXT"
    names = {"manifest_path": str(tmp_path / "m.json"), "multi_frames_path": str(frames)}
    for manifest, code in (
        ("[]", "MANIFEST_UNREADABLE"),
        ('{"mf_1.jpg": {"sub_images": [{"frame_idx": 1, "height": 90, "y_offset": 0}]}}', "PICTURE_MISSING"),
        ('{"../m.json": {"sub_images": [{"frame_idx": 1, "height": 90, "y_offset": 0}]}}', "PICTURE_MISSING"),
        (
            '{"00000001.jpg": {"sub_images": [{"frame_idx": 1, "height": 90, "y_offset": 9000}]}}',
            "MANIFEST_UNREADABLE",
        ),
    ):
        (tmp_path / "m.json").write_text(manifest)
        assert await refused(under_test, "perform_ocr", **names) == code
    (tmp_path / "r.json").write_text('{"one": "two"}')
    request = {"ocr_results_path": str(tmp_path / "r.json"), "video_path": str(film)}
    assert await refused(under_test, "postprocess_and_finalize", **request) == "RESULTS_UNREADABLE"
    (tmp_path / "r.json").write_text("{}")
    nothing = await run(under_test, "postprocess_and_finalize", **request)
    assert nothing.output == {"srt_file": None, "json_file": None, "subtitles_count": 0}


@pytest.mark.slow
@shared_loop
async def test_pictures_are_read_one_by_one(under_test: NodeUnderTest, tmp_path: Path) -> None:
    """Transparent, turned, small and black pictures give what stands there, and one that is damaged does not spoil the others."""
    if not SHARED.is_dir():
        pytest.skip("the shared pictures are not here")
    (tmp_path / "bad.png").write_text("no picture")
    names: tuple[str, ...] = (
        "ch_en_num.jpg",
        "black_font_color_transparent.png",
        "white_font_color_transparent.png",
    )
    names += ("img_exif_orientation.jpg", "text_rec.jpg", "empty_black.jpg")
    copies = [str(shutil.copy(SHARED / name, tmp_path / name)) for name in names]
    result = await run(under_test, "read_images", images=[*copies, str(tmp_path / "bad.png")])
    said = {one["name"]: one["text"] for one in result.output["images"]}
    assert said["ch_en_num.jpg"].split("\n")[:3] == ["正品促销", "大桶装更划算", "强力去污符合国标"]
    assert said["black_font_color_transparent.png"] == "我是中国人"
    assert said["white_font_color_transparent.png"] == "我是中国人"
    assert said["img_exif_orientation.jpg"] == "我是中国人"
    assert said["text_rec.jpg"] == "韩国小馆"
    assert said["empty_black.jpg"] == ""
    assert result.output["images"][-1]["error"] and result.output["images_count"] == 6
