"""The tasks of the separation node, over real gRPC with the real engines."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

from nodekit.models import model_store
from nodekit.testkit import NodeUnderTest, TaskResult
from services.separate.node import node
from tests.services.interruption import interrupt
from tests.services.separate.material import Signal, music, pink, read, si_sdr_db, speech, write

RATE = 44_100


shared_loop = pytest.mark.asyncio(loop_scope="module")
"""Of tests that share one replica of the node, whose models are loaded once."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def under_test(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[NodeUnderTest]:
    """A replica of the node; one for the module."""
    roots = (tmp_path_factory.getbasetemp(),)
    async with NodeUnderTest(node, tmp_path_factory.mktemp("separate"), allowed_roots=roots) as started:
        yield started


@pytest.fixture(scope="session")
def speech_model() -> None:
    if not model_store().has("deepfilternet3"):
        pytest.skip("needs `make models names=deepfilternet3`")


def residual_db(mix: Signal, result: TaskResult) -> float:
    """What the stems' sum differs from the mix by, in dB of the mix."""
    voices, _ = read(result.file("vocal_audio"))
    rest, _ = read(result.file("instrumental_audio"))
    assert voices.shape == rest.shape == mix.shape
    error = mix * np.float32(result.output["gain"]) - voices - rest
    return float(10 * np.log10(max((error.astype(float) ** 2).sum(), 1e-20) / (mix.astype(float) ** 2).sum()))


@shared_loop
@pytest.mark.slow
@pytest.mark.usefixtures("speech_model")
async def test_speech_in_music(under_test: NodeUnderTest, tmp_path: Path) -> None:
    """Speech is heard, so the speech engine is taken, and says why; it gains 8 dB; both stems are as the mix, and are the mix."""
    voice = speech(RATE)[: 5 * RATE]
    left = voice + music(RATE, len(voice))
    mix = np.stack([left, voice + pink(len(voice))], axis=1)
    audio = write(tmp_path / "mix.wav", mix, RATE)
    result = await under_test.run("audio_separator.separate_vocals", {"audio_path": str(audio)})
    assert result.outcome == "completed", result.error
    output = result.output
    assert (output["engine"], output["sound"]["sample_rate"], output["sound"]["channels"]) == (
        "deepfilternet3",
        RATE,
        2,
    )
    assert set(output["heard"]) >= {"speech", "singing", "music"}
    assert "speech" in output["engine_reason"]
    assert output["all_audio_files"] == [output["vocal_audio"], output["instrumental_audio"]]
    assert Path(output["vocal_audio"]).name == "mix_(Vocals)_deepfilternet3.flac"
    voices, rate = read(result.file("vocal_audio"))
    assert rate == RATE
    assert min(si_sdr_db(voice, voices[:, channel]) for channel in (0, 1)) >= 7
    assert residual_db(mix, result) <= -100
    assert result.percents() == sorted(result.percents())


@shared_loop
@pytest.mark.slow
@pytest.mark.usefixtures("speech_model")
@pytest.mark.parametrize(("below_db", "parted"), [(0, True), (25, False)])
async def test_voices_are_parted_where_music_is_loud(
    under_test: NodeUnderTest, shared_media: Path, tmp_path: Path, below_db: int, parted: bool
) -> None:
    """A film's music, alone for three seconds and then under speech: as loud as it, or far below. What is not parted is given as
    it came, and the task is skipped.
    """
    audio = tmp_path / f"mix-{below_db}.wav"
    graph = (
        f"[0:a]volume={10 - below_db}dB,aformat=channel_layouts=mono[m];[1:a]aformat=channel_layouts=mono,adelay=3000[s];"
        "[m][s]amix=inputs=2:normalize=0:duration=first"
    )
    subprocess.run(
        ["ffmpeg", "-v", "error", "-y", "-t", "13", "-i", shared_media / "video/big_buck_bunny_0_30.webm",
         "-i", shared_media / "asr/jfk.flac", "-filter_complex", graph, "-ar", "16000", audio],
        check=True, timeout=60,
    )  # fmt: skip
    result = await under_test.run(
        "audio_separator.separate_vocals", {"audio_path": str(audio), "only_when": "music_is_loud"}
    )
    assert result.outcome == "completed", result.error
    assert (result.output["parted"], result.events[-1].completed.skipped) == (parted, not parted), (
        result.output["heard"]
    )
    assert (result.output["vocal_audio"] == str(audio)) == (not parted)


@shared_loop
@pytest.mark.slow
async def test_music_without_models(under_test: NodeUnderTest, tmp_path: Path) -> None:
    """The engine without weights keeps rate, channels and length, and its stems are the mix."""
    voice = speech(32_000)[: 5 * 32_000]
    mix = (voice + music(32_000, len(voice)))[:, None]
    audio = write(tmp_path / "mix.flac", mix, 32_000, "flac")
    sound, _ = read(audio)
    result = await under_test.run(
        "audio_separator.separate_vocals",
        {"audio_path": str(audio), "engine": "repet", "output_format": "wav", "quality_mode": "fast"},
    )
    assert (result.output["engine"], result.output["quality_mode"]) == ("repet", "fast")
    assert (result.output["heard"], result.output["sound"]["samples"]) == (None, len(mix))
    assert residual_db(sound, result) <= -100


@shared_loop
@pytest.mark.slow
@pytest.mark.usefixtures("speech_model")
async def test_speech_is_enhanced_as_much_as_asked(under_test: NodeUnderTest, tmp_path: Path) -> None:
    """All of the noise goes, or nothing at strength 0, which gives the recording back."""
    voice = speech(16_000)[: 3 * 16_000]
    mix = voice + pink(len(voice))
    audio = write(tmp_path / "noisy.wav", mix, 16_000)
    gains = {}
    for strength in (0.0, 1.0):
        result = await under_test.run(
            "audio_separator.enhance_speech", {"audio_path": str(audio), "strength": strength}
        )
        assert result.outcome == "completed", result.error
        made, rate = read(result.file("audio_path"))
        assert (made.shape, rate) == ((len(mix), 1), 16_000)
        gains[strength] = si_sdr_db(voice, made[:, 0]) - si_sdr_db(voice, mix)
    assert gains[1.0] > 7
    assert abs(gains[0.0]) < 0.5
    assert result.output["reduction_db"] > 1


ODD = {
    "silence": (["-f", "lavfi", "-i", "anullsrc=r=44100:cl=stereo:d=2"], "silence.wav", (88_200, 2)),
    "8 kHz": (["-f", "lavfi", "-i", "sine=r=8000:d=1"], "eight.wav", (8000, 1)),
    "7.1": (
        ["-f", "lavfi", "-i", "sine=r=48000:d=0.5", "-af", "pan=7.1|FC=c0|BL=0.3*c0"],
        "eight.flac",
        (24_000, 8),
    ),
    "one sample": (["-f", "lavfi", "-i", "sine=r=16000:d=1", "-af", "atrim=end_sample=1"], "one.wav", (1, 1)),
    "video": (
        ["-f", "lavfi", "-i", "color=s=64x64:d=1", "-f", "lavfi", "-i", "sine=r=48000:d=1", "-c:a", "flac"],
        "f.mkv",
        (48_000, 1),
    ),
}


@shared_loop
@pytest.mark.slow
@pytest.mark.parametrize("engine", ["repet", "deepfilternet"])
@pytest.mark.usefixtures("speech_model")
async def test_odd_recordings(under_test: NodeUnderTest, tmp_path: Path, engine: str) -> None:
    """Silence, one sample, telephone rate, eight channels and a film give stems of the same shape that are the mix."""
    for name, (arguments, file_name, shape) in ODD.items():
        path = tmp_path / file_name
        subprocess.run(["ffmpeg", "-v", "error", "-y", *arguments, str(path)], check=True)
        result = await under_test.run(
            "audio_separator.separate_vocals", {"audio_path": str(path), "engine": engine}
        )
        assert result.outcome == "completed", (name, result.error)
        mix, _ = read(path)
        assert mix.shape == shape, name
        assert not mix.any() or residual_db(mix, result) <= -80, name


@shared_loop
async def test_half_a_recording_is_parted_and_said_to_be_half(
    under_test: NodeUnderTest, tmp_path: Path
) -> None:
    """What a recording that was cut off holds is parted, and the result says that there was more; a whole one has no warning."""
    path = write(tmp_path / "tune.mka", music(RATE, 3 * RATE), RATE)
    for share, said in ((1, False), (2, True)):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // share])
        fields = {"audio_path": str(path), "engine": "repet"}
        result = await under_test.run("audio_separator.separate_vocals", fields, task_id=f"half-{share}")
        assert result.outcome == "completed", result.error
        assert [f"{path.name} promises 3.000 s" in line for line in result.output["warnings"]] == [
            True
        ] * said


@shared_loop
@pytest.mark.parametrize(
    ("request_fields", "code"),
    [
        ({"body": b""}, "MEDIA_EMPTY"),
        ({"body": b"no sound at all" * 9}, "MEDIA_UNREADABLE"),
        ({"engine": "demucs"}, "MODEL_MISSING"),
        ({"audio_separator_config": {"model_type": "demucs"}}, "MODEL_MISSING"),
        ({"samples": 0}, "OUTPUT_EMPTY"),
        ({"channels": 3, "output_format": "mp3"}, "TOO_MANY_CHANNELS"),
    ],
)
async def test_what_cannot_be_done(
    under_test: NodeUnderTest, tmp_path: Path, request_fields: dict[str, Any], code: str
) -> None:
    """What is no recording, and an engine that is not here, fail with their codes."""
    fields = dict(request_fields)
    path = tmp_path / "a.wav"
    body = fields.pop("body", None)
    if body is None:
        write(path, np.zeros((fields.pop("samples", 1000), fields.pop("channels", 1)), np.float32), 16_000)
    else:
        path.write_bytes(body)
    result = await under_test.run("audio_separator.separate_vocals", {"audio_path": str(path), **fields})
    assert (result.outcome, result.error.code) == ("failed", code)


@shared_loop
async def test_health(under_test: NodeUnderTest) -> None:
    """The node tells its engines, and that it has no GPU where it has none."""
    result = await under_test.run("audio_separator.health_check", {})
    output = result.output
    assert output["memory_usage"]["ram"] > 10
    assert "repet/1" in output["engines"]
    assert (
        output["model_loaded"]
        == (output["service_status"] == "healthy")
        == model_store().has("deepfilternet3")
    )
    assert output["gpu_available"] == bool(output["memory_usage"]["gpu"])


@pytest.fixture
async def own_replica(tmp_path: Path) -> AsyncIterator[NodeUnderTest]:
    """A replica of the test's own: all of its workers are the task's."""
    async with NodeUnderTest(node, tmp_path) as started:
        yield started


TWICE = pytest.param("kill twice", marks=pytest.mark.slow)
ONCE = pytest.param("kill once", marks=pytest.mark.slow)


@pytest.mark.parametrize("how", ["cancel", ONCE, TWICE])
async def test_a_worker_that_ends_in_the_middle(own_replica: NodeUnderTest, tmp_path: Path, how: str) -> None:
    """A cancel ends worker and files at once; one that is killed is replaced, and the second fails its task so that it may be
    retried. The node goes on.
    """
    audio = write(tmp_path / "long.wav", np.tile(music(16_000, 16_000 * 60), 10), 16_000)
    request = {"audio_path": str(audio), "engine": "repet"}
    await interrupt(own_replica, "audio_separator.separate_vocals", request, {"separating"}, how)
    assert not list((own_replica.root.parent / "work" / "scratch").rglob("*.f32"))
    small = write(tmp_path / "small.wav", np.zeros(8000, np.float32), 16_000)
    after = await own_replica.run(
        "audio_separator.separate_vocals", {"audio_path": str(small), "engine": "repet"}
    )
    assert after.outcome == "completed"
