"""The task over real gRPC with real weights: the origin's fields, events while it hears, files, resumption, clear failures."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from nodekit.testkit import NodeUnderTest, TaskResult
from runtime.errors import InvalidInput
from runtime.structs import from_struct
from services.asr.engines import Wish, choose
from services.asr.inputs import TranscribeAudioInput
from services.asr.node import node
from subtitles.measure import LATIN
from subtitles.readability import find_violations
from subtitles.reading import read_document
from yivideo.task.v1 import task_pb2

shared_loop = pytest.mark.asyncio(loop_scope="module")
TASK = "faster_whisper.transcribe_audio"
KENNEDY = (
    "and so my fellow americans ask not what your country can do for you ask what you can do for your country"
)


def bare(text: str) -> str:
    return " ".join("".join(c for c in text.casefold() if c.isalnum() or c.isspace()).split())


def make(target: Path, *arguments: str) -> Path:
    """Run ffmpeg to make a file."""
    subprocess.run(["ffmpeg", "-v", "error", "-y", *arguments, str(target)], check=True)
    return target


async def completed(under_test: NodeUnderTest, **task_input: Any) -> TaskResult:
    result = await under_test.run(TASK, task_input, task_id=f"t{os.urandom(4).hex()}")
    assert result.outcome == "completed", result.error
    return result


async def failed(under_test: NodeUnderTest, **task_input: Any) -> tuple[str, str]:
    result = await under_test.run(TASK, task_input, task_id=f"t{os.urandom(4).hex()}")
    assert result.outcome == "failed", result.output
    return result.error.code, result.error.field


def told_segments(result: TaskResult) -> list[dict[str, Any]]:
    """Return the segments that watchers were told of."""
    return [
        segment
        for event in result.events
        if event.HasField("progress")
        for segment in from_struct(event.progress.data).get("segments", [])
    ]


@shared_loop
@pytest.mark.usefixtures("base_model")
async def test_a_speech_is_written_down_in_the_origins_form(asr_node: NodeUnderTest, media: Path) -> None:
    """Every word is right and timed in order; output and file have the origin's fields; all forms hold the same text."""
    result = await completed(
        asr_node, audio_path=str(media / "asr/jfk.flac"), formats=["srt", "vtt", "ass", "txt", "tsv"]
    )
    output = result.output
    assert bare(output["text"]) == KENNEDY
    assert (output["language"], output["model_name"], output["device"]) == (
        "en",
        "faster-whisper-base",
        "cpu",
    )
    assert output["audio_duration"] == pytest.approx(11.0, abs=0.01)
    document = json.loads(result.file("segments_file").read_text())
    assert set(document) == {"metadata", "segments", "statistics"}
    assert Path(output["segments_file"]).name.startswith("transcribe_data_")
    first = document["segments"][0]
    assert {
        *("id", "seek", "start", "end", "text", "tokens", "temperature", "avg_logprob"),
        *("compression_ratio", "no_speech_prob", "words"),
    } <= set(first)
    assert first["tokens"] and set(first["words"][0]) == {"word", "start", "end", "probability"}
    words = [word for segment in document["segments"] for word in segment["words"]]
    assert len(words) == output["statistics"]["total_words"] == len(KENNEDY.split())
    assert all(before["end"] <= after["start"] + 1e-6 for before, after in pairwise(words))
    assert [(s["start"], s["text"]) for s in told_segments(result)] == [
        (s["start"], s["text"]) for s in document["segments"]
    ]
    files = {form: result.root / path for form, path in output["transcript_files"].items()}
    for form in ("srt", "vtt", "ass"):
        cues = read_document(files[form]).cues
        assert bare(" ".join(cue.plain.replace("\n", " ") for cue in cues)) == KENNEDY, form
        kinds = {finding.kind.value for finding in find_violations(cues, LATIN, cjk=False)}
        assert not kinds & {"line_too_long", "too_many_lines", "overlap"}, form
    assert "\\kf" in files["ass"].read_text()
    rows = [row.split("\t") for row in files["tsv"].read_text().splitlines()]
    assert rows[0] == ["start", "end", "text"] and bare(" ".join(row[2] for row in rows[1:])) == KENNEDY


@pytest.mark.slow
@shared_loop
@pytest.mark.usefixtures("base_model")
async def test_telephone_channels_are_apart(asr_node: NodeUnderTest, media: Path) -> None:
    """Two who speak on a channel each are told apart, and the model is warm for the second task."""
    path = str(media / "asr/stereo_diarization.wav")
    result = await completed(asr_node, audio_path=path, channels="apart", language="en")
    segments = json.loads(result.file("segments_file").read_text())["segments"]
    said = {s["speaker"]: bare(s["text"]) for s in segments}
    assert said["CHANNEL_0"].startswith("he began a confused complaint against the wizard")
    assert said["CHANNEL_1"] == "the horizon seems extremely distant"
    again = await completed(asr_node, audio_path=path, language="en", enable_word_timestamps=False)
    assert again.output["model_load_duration"] == 0
    assert "words" not in json.loads(again.file("segments_file").read_text())["segments"][0]


@pytest.mark.slow
@shared_loop
@pytest.mark.usefixtures("base_model")
async def test_chinese_is_simplified_when_asked(asr_node: NodeUnderTest, media: Path) -> None:
    """Mandarin is known as such, and comes in the script that was asked for; words join to the text."""
    path = str(media / "asr/chinese.wav")
    texts = {}
    for script in ("simplified", "traditional"):
        result = await completed(asr_node, audio_path=path, chinese=script)
        assert result.output["language"] == "zh"
        texts[script] = result.output["text"]
        segment = json.loads(result.file("segments_file").read_text())["segments"][0]
        assert "".join(word["word"] for word in segment["words"]).strip() == segment["text"]
    assert "头" in texts["simplified"] and "頭" in texts["traditional"]
    assert texts["simplified"].endswith("砸自己的脚")


@shared_loop
@pytest.mark.usefixtures("base_model")
@pytest.mark.parametrize("form", ["8khz", "7.1", "film", "half", "silence", "1-sample", "0-samples"])
async def test_any_sound_is_heard(asr_node: NodeUnderTest, media: Path, tmp_path: Path, form: str) -> None:
    """Telephone rate, eight channels, film: the same words. Silence, one sample, none: no words, and no failure.

    Of half a film the half that is there, with a warning.
    """
    source = ("-i", str(media / "asr/librispeech_61-70968-0000.flac"))
    lavfi = ("-f", "lavfi", "-i")
    match form:
        case "8khz":
            path = make(tmp_path / "a.wav", *source, "-ar", "8000")
        case "7.1":
            path = make(tmp_path / "a.wav", *source, "-af", "pan=7.1|FC=c0")
        case "film":
            path = make(tmp_path / "a.mkv", *source, *lavfi, "color=s=64x64:r=5:d=5", "-c:v", "mpeg4")
        case "half":
            path = make(tmp_path / "a.mkv", *source, *lavfi, "testsrc2=s=64x64:r=5:d=5", "-c:v", "mpeg4")
            path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
        case "silence":
            path = make(tmp_path / "a.wav", *lavfi, "anullsrc=r=16000:cl=mono:d=8")
        case "1-sample":
            path = make(tmp_path / "a.wav", *lavfi, "sine", "-af", "atrim=end_sample=1")
        case _:
            path = make(tmp_path / "a.wav", *lavfi, "sine", "-af", "atrim=end_sample=0")
    output = (await completed(asr_node, audio_path=str(path))).output
    if form == "half":
        assert bare(output["text"]).startswith("he began a confused")
        assert "it is cut off" in output["warnings"][0]
    elif form in ("8khz", "7.1", "film"):
        assert not output["warnings"]
        assert bare(output["text"]).startswith("he began a confused complaint against the wizard")
    else:
        assert (output["text"], output["segments_count"], output["language"]) == ("", 0, "")


@shared_loop
async def test_what_cannot_be_heard_fails_clearly(asr_node: NodeUnderTest, tmp_path: Path) -> None:
    """Each fault has its code and the field at fault; nothing is tried again that cannot succeed."""
    empty, text = tmp_path / "empty.wav", tmp_path / "text.wav"
    empty.touch()
    text.write_text("this is no sound " * 100)
    mute = make(tmp_path / "mute.mkv", "-f", "lavfi", "-i", "color=s=64x64:r=5:d=1", "-c:v", "mpeg4")
    playlist = tmp_path / "list.m3u8"
    playlist.write_text("#EXTM3U\n#EXTINF:1,\nempty.wav\n#EXT-X-ENDLIST\n")
    assert await failed(asr_node, audio_path=str(empty)) == ("MEDIA_EMPTY", "/audio_path")
    assert await failed(asr_node, audio_path=str(text)) == ("MEDIA_UNREADABLE", "/audio_path")
    assert await failed(asr_node, audio_path=str(playlist)) == ("MEDIA_UNREADABLE", "/audio_path")
    assert await failed(asr_node, audio_path=str(mute)) == ("NO_AUDIO_STREAM", "/audio_path")
    assert (await failed(asr_node, audio_path=str(tmp_path / "none.wav")))[0] == "FILE_NOT_FOUND"
    for bad in (
        {"audio_path": ""},
        {"clip_timestamps": [3, 2]},
        {"temperature": 2.0},
        {"language": "English"},
    ):
        with pytest.raises(InvalidInput):
            await asr_node.run(TASK, {"audio_path": str(text), **bad})


@shared_loop
async def test_a_missing_model_is_named_with_its_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that was asked for and is not here fails the task; `auto` takes the next engine and says so."""
    monkeypatch.setenv("YIVIDEO_MODELS", str(tmp_path / "none"))
    speech = make(tmp_path / "s.wav", "-f", "lavfi", "-i", "sine=d=1")
    async with NodeUnderTest(node, tmp_path) as replica:
        code, _ = await failed(replica, audio_path=str(speech), model="faster-whisper-base")
        assert code == "MODEL_MISSING"
        assert (await failed(replica, audio_path=str(speech), language="de"))[0] == "MODEL_MISSING"
        output = (await completed(replica, audio_path=str(speech))).output
    assert output["engine"] == "pocketsphinx" and "make models" in " ".join(output["warnings"])


@shared_loop
async def test_pocketsphinx_hears_english_with_word_times(asr_node: NodeUnderTest, tmp_path: Path) -> None:
    """Without weights clear English is heard for the most part, each word with the time of the decoder's own search."""
    if shutil.which("flite") is None:
        pytest.skip("flite is not here")
    text = "the quick brown fox jumps over the lazy dog"
    subprocess.run(["flite", "-voice", "rms", "-t", text, "-o", str(tmp_path / "fox.wav")], check=True)
    result = await completed(asr_node, audio_path=str(tmp_path / "fox.wav"), engine="pocketsphinx")
    said = set(bare(result.output["text"]).split())
    assert len(said & set(text.split())) >= 6, said
    words = json.loads(result.file("segments_file").read_text())["segments"][0]["words"]
    assert all(word["start"] < word["end"] for word in words) and "aligned" not in words[0]


def workers() -> list[int]:
    """Return our own children that hear: only these have loaded the voice activity detector."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == os.getpid() and "onnxruntime" in (folder / "maps").read_text():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


@pytest.mark.slow
@shared_loop
@pytest.mark.usefixtures("base_model")
async def test_a_killed_worker_costs_only_what_was_not_saved(
    asr_node: NodeUnderTest, media: Path, tmp_path: Path
) -> None:
    """A process that dies is replaced; after a second death the attempt fails as retryable, and the next attempt goes on from the
    checkpoint. In the end all is there once.
    """
    twice = make(tmp_path / "twice.wav", "-stream_loop", "1", "-i", str(media / "asr/sonnet001.mp3"))
    request = {"audio_path": str(twice), "language": "en", "batch_size": 1, "beam_size": 1}
    saved: list[task_pb2.Checkpoint] = []

    def kill(event: task_pb2.TaskEvent) -> None:
        if event.HasField("checkpoint"):
            saved.append(event.checkpoint)
            for pid in workers():
                os.kill(pid, signal.SIGKILL)

    first = await asr_node.run(TASK, request, task_id="killed", on_event=kill)
    assert (first.error.code, first.error.retryable) == ("WORKER_DIED", True)
    assert len(saved) == 2 and "goes on where it stopped" in first.logs()[0]
    second = await asr_node.run(
        TASK, request, task_id="killed", attempt=2, checkpoint=from_struct(saved[-1].data)
    )
    assert second.outcome == "completed", second.error
    assert 30 < second.output["resumed_at"] < 80
    text = bare(second.output["text"])
    assert text.count("from fairest creatures") == 2 and text.count("eat the world") == 2
    assert min(segment["start"] for segment in told_segments(second)) >= second.output["resumed_at"] - 0.3


@shared_loop
@pytest.mark.usefixtures("base_model")
async def test_a_cancel_ends_the_worker_and_its_files(asr_node: NodeUnderTest, media: Path) -> None:
    """After a cancel in the middle the process that heard is gone, and no file of the attempt is left."""
    request = {"audio_path": str(media / "asr/sonnet001.mp3"), "batch_size": 1}
    hearing = asyncio.Event()
    task = asyncio.create_task(
        asr_node.run(
            TASK,
            request,
            task_id="stopped",
            on_event=lambda event: hearing.set() if event.HasField("checkpoint") else None,
        )
    )
    await hearing.wait()
    scratch = asr_node.root.parent / "work"
    assert list(scratch.rglob("sound.s16"))
    hearing_now = workers()
    await asr_node.cancel("stopped", grace_seconds=0.1)
    assert (await task).outcome == "cancelled"
    assert not list(scratch.rglob("sound.s16")) and len(workers()) == len(hearing_now) - 1
    assert not (asr_node.root / "stopped").exists() or not any((asr_node.root / "stopped").rglob("*.json"))


def test_the_input_takes_clips_as_text_and_as_list() -> None:
    """`0,5,10` and [0, 5, 10] are the same: a missing last end is the end of the recording."""
    for value in ("0,5,10", [0, 5, 10]):
        request = TranscribeAudioInput.model_validate({"audio_path": "a.wav", "clip_timestamps": value})
        assert request.clips() == ((0.0, 5.0), (10.0, 1e6))


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path) -> None:
    """A configured folder without weights is passed over with a warning that says what it lacks."""
    (tmp_path / "large").mkdir()
    choice = choose(Wish(configured=str(tmp_path / "large")), tmp_path)
    assert choice.model != "large" and "lacks model.bin" in choice.warnings[0]


@shared_loop
@pytest.mark.slow
@pytest.mark.usefixtures("base_model")
async def test_speech_that_was_lost_is_told(asr_node: NodeUnderTest, media: Path) -> None:
    """German heard as English is passed over: no invention takes its place, coverage and a warning say where it is."""
    result = await completed(
        asr_node,
        audio_path=str(media / "asr/multilingual.mp3"),
        language="en",
        multilingual=False,
        clip_timestamps=[25.7, 37.0],
    )
    output = result.output
    assert bare(output["text"]).endswith("included in all copies or substantial portions of the software")
    assert output["coverage"]["missed"] and all(start > 31 for start, _ in output["coverage"]["missed"])
    assert any("coverage.missed" in warning for warning in output["warnings"])
