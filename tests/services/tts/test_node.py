"""Text in, speech out, over real gRPC with real voices; what was said is heard again by a real recogniser."""

from __future__ import annotations

import json
import os
import signal
import wave
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from nodekit.models import model_store
from nodekit.testkit import NodeUnderTest, TaskResult
from runtime.errors import InvalidInput
from services.tts import casting
from services.tts.casting import KOKORO_MODEL, KOKORO_VOICES
from services.tts.hearing import MODEL, compare
from services.tts.node import node
from services.tts.sound_files import tempo_for
from yivideo.task.v1.task_pb2 import TaskEvent

NUMBERS = count(1)
needs_kokoro = pytest.mark.skipif(
    not (model_store().has(KOKORO_MODEL) and model_store().has(KOKORO_VOICES)),
    reason="`make models` brings Kokoro",
)
needs_ears = pytest.mark.skipif(not model_store().has(MODEL), reason="`make models` brings the recogniser")


shared_loop = pytest.mark.asyncio(loop_scope="module")
"""Of tests that share one replica of the node, whose models are loaded once."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tts_node(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[NodeUnderTest]:
    """A replica of the node; one for the module."""
    roots = (tmp_path_factory.getbasetemp(),)
    async with NodeUnderTest(node, tmp_path_factory.mktemp("tts"), allowed_roots=roots) as under_test:
        yield under_test


async def spoken(under_test: NodeUnderTest, **task_input: Any) -> TaskResult:
    """Speak something that must succeed."""
    result = await under_test.run(
        "indextts.generate_speech", task_input, task_id=f"t{next(NUMBERS)}", wait_seconds=110
    )
    assert result.outcome == "completed", result.error
    return result


def seconds(path: Path) -> float:
    """Return how long a WAV lasts."""
    with wave.open(str(path)) as source:
        return float(source.getnframes() / source.getframerate())


@shared_loop
async def test_english_is_spoken(tts_node: NodeUnderTest) -> None:
    """The file, its length, loudness and the time of each sentence agree; the origin's names are filled."""
    result = await spoken(
        tts_node, text="Good morning. This is the second sentence.", output_path="/share/x/hello.wav"
    )
    output = result.output
    assert output["audio_path"] == output["output_path"] and result.file("audio_path").name == "hello.wav"
    assert output["duration"] == pytest.approx(seconds(result.file("audio_path")), abs=0.01)
    assert abs(output["loudness_lufs"] + 16) <= 0.5 and output["true_peak_db"] <= -0.9
    assert (output["engine"].split("/")[0], output["voice"], output["language"]) == ("hibari", "heart", "en")
    first, second = output["sentences"]
    assert (
        0 <= first["start"] < first["end"] <= second["start"] - 0.2
        and second["end"] <= output["duration"] + 0.05
    )
    assert json.loads(result.file("sentences_file").read_text())["sentences"] == output["sentences"]


@shared_loop
@pytest.mark.parametrize("loudness", [-23.0, None])
async def test_length_form_and_loudness_are_as_asked(tts_node: NodeUnderTest, loudness: float | None) -> None:
    """A target within reach is met to 3 %, broadcast loudness to half a LU, and the rate is the one asked for."""
    result = await spoken(
        tts_node,
        text="This sentence is stretched a little, so that it fits its place.",
        target_duration=4.0,
        loudness=loudness,
        sample_rate=16000,
    )
    with wave.open(str(result.file("audio_path"))) as source:
        assert source.getframerate() == 16000
        length = source.getnframes() / 16000
    assert abs(length - 4.0) <= 0.12 and abs(result.output["duration_error"]) <= 0.03
    if loudness is not None:
        assert abs(result.output["loudness_lufs"] - loudness) <= 0.5


def test_speech_is_not_stretched_beyond_what_sounds_right() -> None:
    """Between 0.85 and 1.25 unless allowed otherwise."""
    assert tempo_for(10, 5, free=False) == 1.25
    assert tempo_for(10, 20, free=False) == 0.85
    assert tempo_for(10, 5, free=True) == 2.0
    assert tempo_for(10, None, free=True) == 1.0


@shared_loop
async def test_sentences_are_told_and_stored_as_they_come(tts_node: NodeUnderTest) -> None:
    """With `stream` the first sentence can be heard while the others are spoken."""
    seen: list[dict[str, Any]] = []

    def note(event: TaskEvent) -> None:
        if event.HasField("progress") and "audio_path" in event.progress.data.fields:
            seen.append({key: value.string_value for key, value in event.progress.data.fields.items()})

    result = await tts_node.run(
        "indextts.generate_speech",
        {"text": "One. " * 3, "stream": True},
        task_id="streamed",
        on_event=note,
    )
    assert result.outcome == "completed"
    names = sorted(file.path for file in result.files if "parts/" in file.path)
    assert len(names) == 3 and seen
    assert seconds(result.root / names[0]) > 0.1


@shared_loop
@pytest.mark.slow
async def test_a_killed_voice_goes_on_where_it_stopped(tts_node: NodeUnderTest) -> None:
    """SIGKILL to the worker in the middle: the sentence is spoken again, nothing is missing and nothing is there twice."""
    killed: list[int] = []

    def kill(event: TaskEvent) -> None:
        if event.HasField("progress") and event.progress.stage == "speaking" and not killed:
            for pid in worker_pids():
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)

    text = " ".join(
        f"This is sentence number {word}." for word in ("one", "two", "three", "four", "five", "six")
    )
    whole = await spoken(tts_node, text=text, loudness=None)
    result = await tts_node.run(
        "indextts.generate_speech",
        {"text": text, "loudness": None},
        task_id="killed",
        on_event=kill,
        wait_seconds=110,
    )
    assert killed and result.outcome == "completed", result.error
    assert [row["text"] for row in result.output["sentences"]] == [
        row["text"] for row in whole.output["sentences"]
    ]
    assert result.output["duration"] == pytest.approx(whole.output["duration"], abs=0.6)


def worker_pids() -> list[int]:
    """Return this process's workers."""
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    return [pid for pid in map(int, children) if b"worker_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@shared_loop
@needs_kokoro
@needs_ears
@pytest.mark.slow
@pytest.mark.parametrize(
    "fields",
    [
        {"text": "大家好，今天是2026年11月29日，天气很好。"},
        {"text": "我们用iPhone拍了两个视频。\n谢谢大家！"},
        {"text": "今天天气很好，我们去公园吧。", "voice": "zm_yunxi"},
        {"text": "The quick brown fox jumps over the lazy dog.", "voice": "am_michael"},
        {"text": "The quick brown fox jumps over the lazy dog."},
    ],
)
async def test_what_was_said_is_heard_again(tts_node: NodeUnderTest, fields: dict[str, Any]) -> None:
    """Chinese, English and both mixed are understood by another program than the one that spoke."""
    result = await spoken(tts_node, verify=True, **fields)
    assert result.output["verified"] and result.output["error_rate"] <= 0.2, result.output["heard_text"]


@pytest.mark.parametrize(
    ("expected", "heard", "right"),
    [
        ("Good morning, everybody.", "good morning everybody", True),
        ("Good morning, everybody, and welcome to the show.", "Good morning", False),
        ("Say it once.", "Say it once. Say it once.", False),
        ("今天是2026年", "今天是二零二六年", True),
        ("漢語", "汉语", True),
        ("大家好。", "帶家好", True),
        ("大家好。", "谢谢你们", False),
        ("今天天气很好", "昨天他去了北京", False),
    ],
)
def test_cut_off_repeated_and_garbled_speech_is_told(expected: str, heard: str, right: bool) -> None:
    """What `verify` refuses, and what it must not refuse: figures, scripts and marks are not errors."""
    assert compare(expected, heard).right is right


@shared_loop
@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        ({"text": "🙂 ... !"}, "INVALID_INPUT", "/text"),
        ({"text": "a" * 20_001}, "INVALID_INPUT", "/text"),
        ({"text": "Hi", "voice": "nobody"}, "VOICE_UNKNOWN", "/voice"),
        ({"text": "Hi", "engine": "gptsovits"}, "REFERENCE_UNUSABLE", "/engine"),
    ],
)
async def test_what_cannot_be_said_says_why(
    tts_node: NodeUnderTest, fields: dict[str, Any], code: str, field: str
) -> None:
    """Each failure has its code and names the field."""
    result = await tts_node.run("indextts.generate_speech", fields, task_id=f"t{next(NUMBERS)}")
    assert (result.outcome, result.error.code, result.error.field) == ("failed", code, field)


@shared_loop
@pytest.mark.parametrize("field", ["language", "voice"])
async def test_japanese_without_its_dictionaries(
    tts_node: NodeUnderTest, monkeypatch: pytest.MonkeyPatch, field: str
) -> None:
    """What reads Japanese is no part of the usual installation: the error names the command that brings it."""
    monkeypatch.setattr(casting, "reads_japanese", lambda: False)
    fields = {"text": "これは字幕です", **({"voice": "jf_alpha"} if field == "voice" else {})}
    error = (await tts_node.run("indextts.generate_speech", fields, task_id=f"t{next(NUMBERS)}")).error
    assert (error.code, error.field) == ("LANGUAGE_UNSUPPORTED", f"/{field}")
    assert "make japanese" in error.message


@shared_loop
@needs_kokoro
@needs_ears
@pytest.mark.engines
@pytest.mark.parametrize("voice", ["", "jm_kumo"])
async def test_japanese_is_understood(tts_node: NodeUnderTest, voice: str) -> None:
    """With its dictionaries Japanese is spoken so that another program understands it."""
    if not casting.reads_japanese():
        pytest.skip("needs `make japanese`")
    result = await spoken(
        tts_node, text="今日は天気がいいので、公園まで散歩に行きましょう。", voice=voice, verify=True
    )
    assert (result.output["language"], result.output["engine"].split("/")[0]) == ("ja", "onnxruntime")
    assert result.output["verified"], result.output["heard_text"]


@shared_loop
async def test_a_missing_model_names_its_command(
    tts_node: NodeUnderTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine that was asked for and has no weights: MODEL_MISSING, at once, with what to do."""
    monkeypatch.setenv("YIVIDEO_MODELS", str(tmp_path / "empty"))
    fields = {"text": "你好", "engine": "kokoro"}
    result = await tts_node.run("indextts.generate_speech", fields, task_id=f"t{next(NUMBERS)}")
    assert result.error.code == "MODEL_MISSING" and "make models" in result.error.message


@shared_loop
@pytest.mark.parametrize(
    "fields", [{}, {"text": "a", "segments": [{"text": "b"}]}, {"text": "a", "speed": 9.0}]
)
async def test_bad_input_is_refused(tts_node: NodeUnderTest, fields: dict[str, Any]) -> None:
    """Nothing to say, two texts, an impossible speed: never a task."""
    with pytest.raises(InvalidInput):
        await tts_node.run("indextts.generate_speech", fields, task_id="bad")


@shared_loop
async def test_presets_model_and_health(tts_node: NodeUnderTest) -> None:
    """The origin's three questions are answered with its field names."""
    presets = (await tts_node.run("indextts.list_voice_presets", {}, task_id="p")).output
    assert {"default", "male_01", "female_01", "zf_xiaoxiao", "heart"} <= set(presets["presets"])
    assert presets["total_count"] == len(presets["presets"])
    info = (await tts_node.run("indextts.get_model_info", {}, task_id="m")).output
    assert {engine["name"] for engine in info["engines"]} == {
        "kokoro", "hibari", "gptsovits", "cosyvoice", "indextts2", "flite", "espeak-ng"
    }  # fmt: skip
    health = (await tts_node.run("indextts.health_check", {}, task_id="h")).output
    assert health["status"] in ("healthy", "degraded") and health["service"] == "indextts_service"
