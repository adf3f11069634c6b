"""The four tasks over real gRPC: typed input, stored output, real progress, clear failure, a stop that stops."""

from __future__ import annotations

import asyncio
import json
import re
import tarfile
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

import services.ffmpeg as source_folder
from media.faults import FaultCode
from nodekit.testkit import NodeUnderTest, TaskResult
from runtime.errors import InvalidInput
from services.ffmpeg.decoders import Decoder, has_cuda_device
from services.ffmpeg.node import node
from services.ffmpeg.settings import ffmpeg_settings
from tests.media import measure as media
from yivideo.task.v1.task_pb2 import TaskEvent

SRT = """1
00:00:00,200 --> 00:00:01,500
[SPEAKER_00] Good morning.

2
00:00:01,800 --> 00:00:03,900
[SPEAKER_01] Good morning to you.
"""


@pytest.fixture
async def ffmpeg_node(tmp_path: Path, studio: Path) -> AsyncIterator[NodeUnderTest]:
    """A replica of the node that may read the test's films."""
    async with NodeUnderTest(node, tmp_path, allowed_roots=(studio,)) as under_test:
        yield under_test


def load(path: Path) -> dict[str, Any]:
    """Return a JSON file."""
    document: dict[str, Any] = json.loads(path.read_bytes())
    return document


async def completed(under_test: NodeUnderTest, task: str, **task_input: Any) -> TaskResult:
    """Run a task that must succeed."""
    result = await under_test.run(f"ffmpeg.{task}", task_input, task_id="t1")
    assert result.outcome == "completed", result.error
    return result


@pytest.mark.parametrize(
    ("task", "task_input"),
    [
        ("extract_audio", {"video_path": "film"}),
        ("extract_keyframes", {"video_path": "film", "mode": "iframe"}),
        ("crop_subtitle_images", {"video_path": "film", "subtitle_area": [0, 100, 160, 120]}),
        ("split_audio_segments", {"audio_path": "film", "by": "fixed", "segment_seconds": 2}),
        ("mix_voice_over", {"video_path": "film", "voice_path": "film"}),
    ],
)
async def test_how_fast_media_is_worked_through_is_counted(
    ffmpeg_node: NodeUnderTest, film: Path, task: str, task_input: dict[str, Any]
) -> None:
    """Each task that goes through a film or a recording tells its seconds, and how long one took, for the page of its type."""
    labels = {"task_name": f"ffmpeg.{task}"}

    def told() -> tuple[float, float]:
        names = ("yivideo_task_realtime_factor_count", "yivideo_task_media_seconds_total")
        counted, seconds = (REGISTRY.get_sample_value(name, labels) or 0.0 for name in names)
        return counted, seconds

    counted, seconds = told()
    await completed(
        ffmpeg_node,
        task,
        **{name: str(film) if value == "film" else value for name, value in task_input.items()},
    )
    length = float(media.ffprobe(film, "-show_format")["format"]["duration"])
    now = told()
    assert now[0] == counted + 1
    assert now[1] == pytest.approx(seconds + length, abs=0.2)


def test_tasks_with_their_reuse_fields() -> None:
    """The node offers exactly the origin's four tasks and a dubbed film's mix, each with the field that decides on reuse."""
    assert {task.name: task.reuse_field for task in node.tasks} == {
        "ffmpeg.crop_subtitle_images": "cropped_images_path",
        "ffmpeg.extract_audio": "audio_path",
        "ffmpeg.extract_keyframes": "keyframe_dir",
        "ffmpeg.mix_voice_over": "video_path",
        "ffmpeg.split_audio_segments": "audio_segments_dir",
    }
    assert node.engines()[0].startswith("ffmpeg/")


def test_every_field_is_described() -> None:
    """Every input and output field of every task has a description in its schema."""
    for task in node.tasks:
        for model in (task.input_model, task.output_model):
            bare = [name for name, field in model.model_fields.items() if not field.description]
            assert bare == [], model.__name__


async def test_extract_audio(ffmpeg_node: NodeUnderTest, film: Path) -> None:
    """The sound is stored under the task's id as 16 kHz mono WAV, and the output's figures are the file's."""
    result = await completed(ffmpeg_node, "extract_audio", video_path=str(film))
    assert result.output["audio_path"] == "t1/film.wav"
    shown = media.ffprobe(result.file("audio_path"), "-show_streams")["streams"][0]
    assert (shown["codec_name"], shown["sample_rate"], shown["channels"]) == ("pcm_s16le", "16000", 1)
    assert result.output["duration"] == pytest.approx(
        media.audio_seconds(result.file("audio_path")), abs=1e-6
    )
    assert result.output["channels_in"] == 2
    assert result.output["offset_ms"] == 0
    assert result.percents() == sorted(result.percents())


async def test_extract_audio_with_all_fields(ffmpeg_node: NodeUnderTest, late_sound: Path) -> None:
    """Every field reaches the engine."""
    result = await completed(
        ffmpeg_node,
        "extract_audio",
        video_path=str(late_sound),
        sample_rate=44_100,
        channels=2,
        codec="mp3",
        stream_index=1,
        start=0.25,
        end=2,
        keep_offset=False,
    )
    assert result.output["audio_path"] == "t1/late.mp3"
    assert result.output["offset_ms"] == pytest.approx(250, abs=1)
    assert result.output["offset_kept"] is False
    assert result.output["duration"] == pytest.approx(1.5, abs=0.002)
    assert (result.output["sample_rate"], result.output["channels"]) == (44_100, 2)


async def test_extract_keyframes(ffmpeg_node: NodeUnderTest, film: Path) -> None:
    """Pictures lie alone in their folder; the manifest beside it has their packets' times."""
    result = await completed(
        ffmpeg_node, "extract_keyframes", video_path=str(film), mode="iframe", max_width=100
    )
    assert result.output["keyframe_dir"] == "t1/keyframes/"
    assert list(media.listing(result.file("keyframe_dir"))) == [f"frame_{n:04d}.jpg" for n in range(1, 5)]
    assert result.output["keyframe_files_count"] == 4
    manifest = load(result.file("manifest_path"))
    times = [frame["pts_seconds"] for frame in manifest["frames"]]
    assert times == pytest.approx(media.packet_times(film, only_keys=True), abs=2e-6)
    assert manifest["metadata"]["frame_size"] == [100, 56]
    assert (result.output["video_width"], result.output["video_height"]) == (320, 180)
    assert "keyframe_compressed_archive_url" not in {
        name for name, value in result.output.items() if value is not None
    }


async def test_origin_fields_of_keyframes(ffmpeg_node: NodeUnderTest, film: Path) -> None:
    """A client of the origin system may send all of its fields; a wished archive holds the same pictures."""
    result = await completed(
        ffmpeg_node,
        "extract_keyframes",
        video_path=str(film),
        keyframe_sample_count=5,
        upload_keyframes_to_minio=True,
        compress_keyframes_before_upload=True,
        keyframe_compression_format="tar.gz",
        keyframe_compression_level="fast",
        delete_local_keyframes_after_upload=True,
    )
    stored = media.listing(result.file("keyframe_dir"))
    archive = result.file("keyframe_compressed_archive_url")
    assert archive.name == "keyframes.tar.gz"
    with tarfile.open(archive) as packed:
        assert {entry.name: entry.size for entry in packed} == stored
    info = result.output["keyframe_compression_info"]
    assert (info["files_count"], info["original_size"]) == (5, sum(stored.values()))
    assert info["compressed_size"] == archive.stat().st_size


async def test_crop_subtitle_images(ffmpeg_node: NodeUnderTest, film: Path) -> None:
    """Every frame's strip is stored, listed when asked, and packed when asked; the decoder is named truly."""
    result = await completed(
        ffmpeg_node,
        "crop_subtitle_images",
        video_path=str(film),
        subtitle_area=[0, 140, 320, 180],
        decode_processes=10,
        decoder="cpu",
        upload_cropped_images_to_minio=True,
        delete_local_cropped_images_after_upload=True,
        compress_directory_before_upload=True,
        compression_format="zip",
        compression_level="maximum",
    )
    assert result.output["cropped_images_path"] == "t1/cropped_images/frames/"
    stored = media.listing(result.file("cropped_images_path"))
    assert list(stored) == [f"{number:08d}.jpg" for number in range(1, 101)]
    assert result.output["cropped_images_files_count"] == 100
    assert result.output["cropped_images_uploaded_files"] == [
        f"t1/cropped_images/frames/{name}" for name in stored
    ]
    assert result.output["decoder"] == "h264 (cpu)"
    with zipfile.ZipFile(result.file("compressed_archive_url")) as packed:
        assert packed.namelist() == list(stored)
    times = [frame["pts_seconds"] for frame in load(result.file("manifest_path"))["frames"]]
    assert times == pytest.approx(media.packet_times(film), abs=2e-6)


async def test_luma_output(ffmpeg_node: NodeUnderTest, film: Path) -> None:
    """Without a file per frame there is one file, and as many times as frames."""
    result = await completed(
        ffmpeg_node,
        "crop_subtitle_images",
        video_path=str(film),
        subtitle_area=[0, 140, 320, 180],
        output="luma",
    )
    assert list(media.listing(result.file("cropped_images_path"))) == ["strips.mkv"]
    assert (result.output["cropped_images_files_count"], result.output["frames_count"]) == (1, 100)


async def test_split_chained_after_extract(ffmpeg_node: NodeUnderTest, film: Path, studio: Path) -> None:
    """One task's output is the next one's input, and split_info.json names files that are there."""
    subtitle = studio / "talk.srt"
    subtitle.write_text(SRT)
    first = await completed(ffmpeg_node, "extract_audio", video_path=str(film))
    result = await ffmpeg_node.run(
        "ffmpeg.split_audio_segments",
        {
            "audio_path": first.output["audio_path"],
            "subtitle_path": str(subtitle),
            "group_by_speaker": True,
            "compress_segments_before_upload": True,
        },
        task_id="t2",
    )
    assert result.outcome == "completed", result.error
    output = result.output
    assert output["audio_segments_dir"] == "t2/audio_segments/"
    assert (output["total_segments"], output["segments_count"], output["failed_segments"]) == (2, 2, 0)
    assert output["audio_source"] == "t1/film.wav"
    assert output["speaker_summary"] == {
        "SPEAKER_00": {"count": 1, "duration": 1.3},
        "SPEAKER_01": {"count": 1, "duration": 2.1},
    }
    info = load(result.file("split_info_file"))
    assert info["metadata"]["output_directory"] == output["audio_segments_dir"]
    for entry in info["segments"]:
        path = result.file("audio_segments_dir") / entry["file_path"]
        assert path.stat().st_size == entry["file_size"]
        assert media.audio_seconds(path) == pytest.approx(
            entry["end_time"] - entry["start_time"], abs=1 / 16_000
        )
    assert result.file("compressed_archive_url").is_file()


@pytest.mark.parametrize(
    ("task", "wrong", "pointer"),
    [
        ("extract_audio", {}, "/video_path"),
        ("extract_audio", {"video_path": ""}, "/video_path"),
        ("extract_audio", {"video_path": "a.mp4", "sample_rate": "16000"}, "/sample_rate"),
        ("extract_audio", {"video_path": "a.mp4", "bitrate": 5}, "/bitrate"),
        ("extract_audio", {"video_path": "a.mp4", "codec": "mp3", "sample_rate": 96_000}, ""),
        ("extract_audio", {"video_path": "a.mp4", "start": 5, "end": 5}, ""),
        ("extract_keyframes", {"video_path": "a.mp4", "keyframe_sample_count": 0}, "/keyframe_sample_count"),
        ("extract_keyframes", {"video_path": "a.mp4", "mode": "timestamps"}, ""),
        ("extract_keyframes", {"video_path": "a.mp4", "crop": [0, 0, 9]}, "/crop"),
        (
            "extract_keyframes",
            {"video_path": "a.mp4", "keyframe_compression_format": "rar"},
            "/keyframe_compression_format",
        ),
        ("crop_subtitle_images", {"video_path": "a.mp4"}, "/subtitle_area"),
        ("split_audio_segments", {"audio_path": "a.wav"}, ""),
        (
            "split_audio_segments",
            {"audio_path": "a.wav", "by": "fixed", "output_format": "ogg"},
            "/output_format",
        ),
    ],
)
async def test_wrong_inputs_are_refused_at_once(
    ffmpeg_node: NodeUnderTest, task: str, wrong: dict[str, Any], pointer: str
) -> None:
    """What does not fit is refused before anything runs, with a pointer to the field."""
    with pytest.raises(InvalidInput) as caught:
        await ffmpeg_node.run(f"ffmpeg.{task}", wrong)
    assert f"/input{pointer}" in [field.pointer for field in caught.value.fields]


@pytest.mark.slow
@pytest.mark.parametrize(
    "task", ["extract_audio", "extract_keyframes", "crop_subtitle_images", "split_audio_segments"]
)
@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("empty.mp4", "MEDIA_EMPTY"),
        ("text.mp4", "MEDIA_UNREADABLE"),
        ("cut.mp4", "MEDIA_UNREADABLE"),
        ("playlist.mp4", "MEDIA_FORMAT_REFUSED"),
        ("concat.mp4", "MEDIA_FORMAT_REFUSED"),
    ],
)
async def test_broken_media(
    ffmpeg_node: NodeUnderTest, broken: dict[str, Path], task: str, name: str, code: str
) -> None:
    """Each task fails on each broken file with the code that says why, and stores nothing."""
    result = await ffmpeg_node.run(f"ffmpeg.{task}", minimal(task, broken[name]))
    assert (result.outcome, result.error.code, result.error.retryable) == ("failed", code, False)
    assert result.error.field == ("/audio_path" if task == "split_audio_segments" else "/video_path")
    assert name in result.error.message
    assert str(broken[name].parent) not in result.error.message
    assert not ffmpeg_node.root.exists() or media.listing(ffmpeg_node.root) == {}


def minimal(task: str, source: Path) -> dict[str, Any]:
    """Return the smallest input of a task."""
    match task:
        case "crop_subtitle_images":
            return {"video_path": str(source), "subtitle_area": [10, 150, 250, 190]}
        case "split_audio_segments":
            return {"audio_path": str(source), "by": "fixed", "segment_seconds": 1.0}
        case _:
            return {"video_path": str(source)}


@pytest.mark.parametrize(
    ("task", "code"),
    [
        ("extract_audio", "NO_AUDIO_STREAM"),
        ("split_audio_segments", "NO_AUDIO_STREAM"),
        ("extract_keyframes", None),
        ("crop_subtitle_images", None),
    ],
)
async def test_film_without_sound(
    ffmpeg_node: NodeUnderTest, silent_film: Path, task: str, code: str | None
) -> None:
    """A silent film has pictures, and its missing sound is named."""
    result = await ffmpeg_node.run(f"ffmpeg.{task}", minimal(task, silent_film))
    assert (result.outcome, result.error.code) == (("failed", code) if code else ("completed", ""))


async def test_cancel_ends_ffmpeg(ffmpeg_node: NodeUnderTest, studio: Path) -> None:
    """A cancelled task ends soon, as cancelled, with no ffmpeg left and nothing stored."""
    endless = studio / "long.mkv"
    if not endless.exists():
        media.ffmpeg(
            *("-f", "lavfi", "-i", "testsrc2=s=640x360:r=30:d=60", "-c:v", "mjpeg", "-q:v", "20", endless)
        )
    task_input = {"video_path": str(endless), "keyframe_sample_count": 100_000, "format": "png"}
    running = asyncio.create_task(
        ffmpeg_node.run(
            "ffmpeg.extract_keyframes", task_input, task_id="long", on_event=lambda event: seen(event)
        )
    )
    moving = asyncio.Event()

    def seen(event: Any) -> None:
        if event.HasField("progress") and event.progress.percent > 0:
            moving.set()

    async with asyncio.timeout(20):
        await moving.wait()
    await ffmpeg_node.cancel("long")
    result = await running
    assert result.outcome == "cancelled"
    assert str(endless).encode() not in b"".join(commands())
    assert media.listing(ffmpeg_node.root) == {} if ffmpeg_node.root.exists() else True


def commands() -> list[bytes]:
    """Return the command lines of all processes."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes())
        except OSError:
            continue
    return found


ODD_FILMS = (
    "SAR-2by3.mp4",
    "cover_art_stream.mp4",
    "no_duration.webm",
    "scene_delayed_start.mp4",
    "softsub_mov_text.mp4",
    "two_audio_tracks_60fps.mp4",
)


@pytest.mark.parametrize(
    "task", ["extract_audio", "extract_keyframes", "crop_subtitle_images", "split_audio_segments"]
)
async def test_odd_films(tmp_path: Path, shared_media: Path, task: str) -> None:
    """Every odd film goes through every task over gRPC, with a result or with the one clear error that is due."""
    async with NodeUnderTest(node, tmp_path, allowed_roots=(shared_media,)) as under_test:
        for name in ODD_FILMS:
            result = await under_test.run(f"ffmpeg.{task}", minimal(task, shared_media / "video" / name))
            silent = name == "scene_delayed_start.mp4" and task in ("extract_audio", "split_audio_segments")
            expected = ("failed", "NO_AUDIO_STREAM") if silent else ("completed", "")
            assert (result.outcome, result.error.code) == expected, (name, result.error.message)
            assert result.output.get("warnings", []) == []


def test_readme_lists_the_codes_and_files_that_are() -> None:
    """The README names every error code and every module of the node, and none that is not."""
    folder = Path(str(source_folder.__file__)).parent
    readme = (folder / "README.md").read_text()
    codes = readme.partition("## Error codes")[2]
    assert set(re.findall(r"`([A-Z_]+)`", codes)) == {code.value for code in FaultCode}
    modules = {path.name for path in folder.glob("*.py")} - {"__init__.py", "__main__.py"}
    assert set(re.findall(r"`(\w+\.py)`", readme)) == modules


@pytest.mark.parametrize(
    ("decoder", "hwaccel", "asks"), [("cuda", "cpu", True), ("auto", "cuda", True), ("auto", "cpu", False)]
)
async def test_a_card_is_held_only_for_decoding_on_it(
    tmp_path: Path, film: Path, monkeypatch: pytest.MonkeyPatch, decoder: str, hwaccel: str, asks: bool
) -> None:
    """A task that would decode on a card waits for its lease, one that decodes on the processor does not; a card that ffmpeg
    cannot use is given back and the processor does the work.
    """
    monkeypatch.setenv("YIVIDEO_FFMPEG__HWACCEL", hwaccel)
    ffmpeg_settings.cache_clear()
    request = {"video_path": str(film), "subtitle_area": [0, 120, 320, 180], "decoder": decoder}
    async with NodeUnderTest(node, tmp_path, allowed_roots=(film.parent,), gpu_mib=(4000,)) as under_test:
        waiting = asyncio.Event()
        async with under_test.gpu_taken():
            task = asyncio.create_task(
                under_test.run(
                    "ffmpeg.crop_subtitle_images",
                    request,
                    on_event=lambda event: waiting.set() if event.HasField("waiting_for_gpu") else None,
                )
            )
            if asks:
                await waiting.wait()
            else:
                await task
        result = await task
        assert result.gpu_positions() == ([1] if asks else [])
        assert result.output["frames_count"] == 100
        if not has_cuda_device():
            assert result.output["decoder"] == "h264 (cpu)"
    ffmpeg_settings.cache_clear()


async def a_card_that_decodes(*_: object) -> Decoder:
    """Stand in for a card that decodes what it is asked to."""
    return Decoder.CUDA


@pytest.mark.parametrize("taken_back", [False, True])
async def test_frames_are_decoded_under_the_lease(
    tmp_path: Path, film: Path, monkeypatch: pytest.MonkeyPatch, taken_back: bool
) -> None:
    """A card is held until its last frame is decoded, and given back then; one that is taken away meanwhile fails the task."""
    monkeypatch.setattr("services.ffmpeg.hardware.choose_decoder", a_card_that_decodes)
    request = {"video_path": str(film), "subtitle_area": [0, 120, 320, 180], "decoder": "cuda"}
    async with NodeUnderTest(node, tmp_path, allowed_roots=(film.parent,), gpu_mib=(4000,)) as under_test:
        held: list[dict[str, int]] = []

        def look(event: TaskEvent) -> None:
            if event.progress.stage == "decoding":
                held.extend(request.taken for request in under_test.locks.requests)
                if taken_back and len(held) == 1:
                    under_test.locks.take_back("an operator took it")

        result = await under_test.run("ffmpeg.crop_subtitle_images", request, on_event=look)
        assert held and held[0] == {"gpu-0": 1024}
        if taken_back:
            assert (result.error.code, result.error.retryable) == ("GPU_LEASE_LOST", True)
            assert not list(under_test.root.rglob("cropped_images.json"))
        else:
            assert result.output["frames_count"] == 100
        async with under_test.gpu_taken():
            pass


async def test_a_node_without_gpus_decodes_by_itself(tmp_path: Path, film: Path) -> None:
    """`decoder: cuda` on a node that is set to CPU is answered with the processor at once."""
    request = {"video_path": str(film), "subtitle_area": [0, 120, 320, 180], "decoder": "cuda"}
    async with NodeUnderTest(node, tmp_path, allowed_roots=(film.parent,)) as under_test:
        result = await under_test.run("ffmpeg.crop_subtitle_images", request)
        assert result.output["decoder"] == "h264 (cpu)"
