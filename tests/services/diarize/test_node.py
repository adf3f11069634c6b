"""The tasks of the diarization node, over real gRPC with the real engines."""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio

from bench.quality.dialogues import SAMPLE_RATE, write_wave
from nodekit.testkit import NodeUnderTest
from services.diarize.node import node
from services.diarize.rttm import from_rttm
from services.diarize.score import score
from services.diarize.turns import Turn
from tests.services.interruption import interrupt

Dialogue = Callable[..., tuple[Path, list[Turn]]]
"""Makes a recording of voices in order."""


shared_loop = pytest.mark.asyncio(loop_scope="module")
"""Of tests that share one replica of the node, whose models are loaded once."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def under_test(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[NodeUnderTest]:
    """A replica of the node; one for the module."""
    shared = Path(__file__).resolve().parents[4] / "shared" / "media"
    roots = (tmp_path_factory.getbasetemp(), shared)
    async with NodeUnderTest(node, tmp_path_factory.mktemp("diarize"), allowed_roots=roots) as started:
        yield started


def turns_of(path: Path, key: str = "segments") -> list[Turn]:
    return [Turn(one["start"], one["end"], one["speaker"]) for one in json.loads(path.read_text())[key]]


@shared_loop
@pytest.mark.usefixtures("neural_models")
async def test_two_voices_by_the_neural_engine(under_test: NodeUnderTest, dialogue: Dialogue) -> None:
    """The right number of speakers, the right turns, all files and all figures; the second task finds the models warm."""
    audio, truth = dialogue("slt", "rms", "slt", "rms", "rms", "slt")
    result = await under_test.run("pyannote_audio.diarize_speakers", {"audio_path": str(audio)})
    assert result.outcome == "completed", result.error
    output = result.output
    assert output["detected_speakers"] == ["SPEAKER_00", "SPEAKER_01"]
    assert output["engine"] == "segmentation-3.0+campplus"
    turns = turns_of(result.file("diarization_file"))
    assert score(truth, turns, collar_seconds=0.25).der < 0.03
    (rttm,) = from_rttm(result.file("rttm_file").read_text()).values()
    assert [one.start for one in rttm] == pytest.approx([turn.start for turn in turns])
    vectors = json.loads(result.file("embeddings_file").read_text())["speakers"]
    assert {name: len(vector) for name, vector in vectors.items()} == {"SPEAKER_00": 192, "SPEAKER_01": 192}
    assert output["speaker_statistics"]["SPEAKER_00"]["segments"] == sum(
        turn.speaker == "SPEAKER_00" for turn in turns
    )
    # Of several that come at one instant the last is told.
    assert {"finding speech", "comparing voices"} & {
        event.progress.stage for event in result.events if event.HasField("progress")
    }
    assert result.percents() == sorted(result.percents())
    again = await under_test.run(
        "pyannote_audio.diarize_speakers", {"audio_path": str(audio), "num_speakers": 1}
    )
    assert again.output["total_speakers"] == 1
    assert (output["statistics"]["model_warm"], again.output["statistics"]["model_warm"]) == (False, True)


@shared_loop
async def test_three_voices_without_models(under_test: NodeUnderTest, dialogue: Dialogue) -> None:
    """The engine without weights tells three clear voices apart, and says that it was the one."""
    audio, truth = dialogue("slt", "rms", "awb", "slt", "awb", "rms")
    result = await under_test.run(
        "pyannote_audio.diarize_speakers", {"audio_path": str(audio), "engine": "mfcc"}
    )
    assert (result.output["total_speakers"], result.output["engine"]) == (3, "mfcc+f0")
    assert score(truth, turns_of(result.file("diarization_file")), collar_seconds=0.25).der < 0.05
    assert result.output["embeddings_file"]


@shared_loop
@pytest.mark.usefixtures("neural_models")
async def test_overlap_and_one_at_a_time(under_test: NodeUnderTest, shared_media: Path) -> None:
    """In a heated meeting two speak at once; the exclusive form never has that. A calm one is told well."""
    folder = shared_media / "diar"
    heated = await under_test.run(
        "pyannote_audio.diarize_speakers", {"audio_path": str(folder / "ami_tst00.wav")}
    )
    path = heated.file("diarization_file")
    assert any(one.end > other.start for one, other in pairwise(turns_of(path)))
    assert all(one.end <= other.start for one, other in pairwise(turns_of(path, "exclusive_segments")))
    calm = await under_test.run(
        "pyannote_audio.diarize_speakers", {"audio_path": str(folder / "ami_dev00.wav")}
    )
    truth = from_rttm((folder / "ami_debug.development.rttm").read_text())["dev00"]
    found = score(truth, turns_of(calm.file("diarization_file")), collar_seconds=0.25, spans=[(0, 30)])
    assert found.speaker_count_error == 0
    assert found.der <= 0.06


ODD = {
    "silence": (["-f", "lavfi", "-i", "anullsrc=r=16000:cl=mono:d=3"], "silence.wav", 0),
    "8 kHz": (["-f", "lavfi", "-i", "flite=voice=slt:text='{}'", "-ar", "8000"], "eight.wav", 1),
    "7.1": (
        ["-f", "lavfi", "-i", "flite=voice=slt:text='{}'", "-af", "pan=7.1|FC=c0|BL=0.3*c0"],
        "surround.wav",
        1,
    ),
    "one sample": (["-f", "lavfi", "-i", "sine=r=16000:d=1", "-af", "atrim=end_sample=1"], "one.wav", 0),
    "video": (
        [
            "-f",
            "lavfi",
            "-i",
            "color=s=64x64:d=4",
            "-f",
            "lavfi",
            "-i",
            "flite=voice=slt:text='{}'",
            "-shortest",
        ],
        "film.mkv",
        1,
    ),
}


@shared_loop
@pytest.mark.parametrize("engine", ["neural", pytest.param("mfcc", marks=pytest.mark.slow)])
@pytest.mark.usefixtures("neural_models")
async def test_odd_recordings(under_test: NodeUnderTest, tmp_path: Path, engine: str) -> None:
    """Silence, a single sample, telephone rate, eight channels and a film all have a right answer."""
    text = "The train to the coast leaves at a quarter past nine from platform four"
    for name, (arguments, file_name, speakers) in ODD.items():
        path = tmp_path / file_name
        source = [argument.format(text) for argument in arguments]
        subprocess.run(["ffmpeg", "-v", "error", "-y", *source, str(path)], check=True)
        result = await under_test.run(
            "pyannote_audio.diarize_speakers", {"audio_path": str(path), "engine": engine}
        )
        assert result.outcome == "completed", (name, result.error)
        assert result.output["total_speakers"] == speakers, name
        assert bool(turns_of(result.file("diarization_file"))) == bool(speakers)


@shared_loop
@pytest.mark.parametrize(
    ("body", "code"),
    [(b"", "MEDIA_EMPTY"), (b"no sound at all" * 9, "MEDIA_UNREADABLE"), (None, "OUTPUT_EMPTY")],
)
async def test_what_is_no_recording(
    under_test: NodeUnderTest, tmp_path: Path, body: bytes | None, code: str
) -> None:
    """An empty file, nonsense, and a WAV without a sample are refused, each with its code."""
    path = tmp_path / "a.wav"
    if body is None:
        write_wave(path, np.zeros(0, np.float32))
    else:
        path.write_bytes(body)
    result = await under_test.run(
        "pyannote_audio.diarize_speakers", {"audio_path": str(path), "engine": "mfcc"}
    )
    assert (result.outcome, result.error.code) == ("failed", code)


@shared_loop
async def test_a_missing_pipeline_is_told_at_once(under_test: NodeUnderTest, dialogue: Dialogue) -> None:
    """An engine that is not here fails with its code, before anything is decoded."""
    audio, _ = dialogue("slt")
    result = await under_test.run(
        "pyannote_audio.diarize_speakers", {"audio_path": str(audio), "engine": "pyannote"}
    )
    assert result.error.code == "MODEL_MISSING"
    assert result.percents() == []


@pytest.fixture
async def own_replica(tmp_path: Path) -> AsyncIterator[NodeUnderTest]:
    """A replica of the test's own: all of its workers are the task's."""
    async with NodeUnderTest(node, tmp_path) as started:
        yield started


TWICE = pytest.param("kill twice", marks=pytest.mark.slow)
ONCE = pytest.param("kill once", marks=pytest.mark.slow)


@pytest.mark.parametrize("how", ["cancel", ONCE, TWICE])
async def test_a_worker_that_ends_in_the_middle(own_replica: NodeUnderTest, tmp_path: Path, how: str) -> None:
    """A cancel ends the worker at once; one that is killed is replaced, and the second fails its task so that it may be retried.
    The node goes on.
    """
    hour = write_wave(
        tmp_path / "long.wav",
        np.tile(np.random.default_rng(0).standard_normal(SAMPLE_RATE * 60).astype("f4") * 0.05, 20),
    )
    request = {"audio_path": str(hour), "engine": "mfcc"}
    stages = {"finding speech", "comparing voices"}
    await interrupt(own_replica, "pyannote_audio.diarize_speakers", request, stages, how)
    small = write_wave(tmp_path / "small.wav", np.zeros(SAMPLE_RATE, np.float32))
    after = await own_replica.run(
        "pyannote_audio.diarize_speakers", {"audio_path": str(small), "engine": "mfcc"}
    )
    assert after.outcome == "completed"


SEGMENTS = [
    {"start": 0.0, "end": 4.0, "speaker": "SPEAKER_00", "duration": 4.0},
    {"start": 4.2, "end": 4.5, "speaker": "SPEAKER_01", "duration": 0.3},
    {"start": 5.0, "end": 40.0, "speaker": "SPEAKER_00", "duration": 35.0},
]


@pytest.fixture
def result_file(tmp_path: Path) -> Path:
    path = tmp_path / "diarization_result.json"
    path.write_text(json.dumps({"success": True, "total_speakers": 3, "segments": SEGMENTS}))
    return path


@shared_loop
async def test_segments_of_a_speaker(under_test: NodeUnderTest, result_file: Path) -> None:
    """Of one speaker, of all, and of one who is not there: an empty list, which is no error."""
    task = "pyannote_audio.get_speaker_segments"
    one = await under_test.run(task, {"diarization_file": str(result_file), "speaker": "SPEAKER_01"})
    assert one.output["segments"] == [SEGMENTS[1]]
    assert (one.output["speaker_filter"], one.output["speaker_statistics"]) == ("SPEAKER_01", None)
    everyone = await under_test.run(task, {"diarization_file": str(result_file)})
    assert everyone.output["speaker_statistics"] == {"SPEAKER_00": 2, "SPEAKER_01": 1}
    nobody = await under_test.run(task, {"diarization_file": str(result_file), "speaker": "SPEAKER_07"})
    assert (nobody.outcome, nobody.output["segments"], nobody.output["total_segments"]) == (
        "completed",
        [],
        0,
    )


@shared_loop
async def test_a_result_is_checked_and_scored(
    under_test: NodeUnderTest, result_file: Path, tmp_path: Path
) -> None:
    """What is odd is listed; against a reference there is a score; a file that is no result is refused."""
    task = "pyannote_audio.validate_diarization"
    checked = await under_test.run(task, {"diarization_file": str(result_file)})
    assert checked.output["valid"] is False
    assert len(checked.output["issues"]) == 3
    assert (checked.output["total_duration"], checked.output["score"]) == (39.3, None)
    truth = tmp_path / "truth.rttm"
    truth.write_text(
        "SPEAKER x 1 0.0 4.0 <NA> <NA> ann <NA> <NA>\nSPEAKER x 1 5.0 35.0 <NA> <NA> ann <NA> <NA>\n"
    )
    scored = await under_test.run(task, {"diarization_file": str(result_file), "reference_file": str(truth)})
    assert scored.output["score"]["invented"] == pytest.approx(0.3)
    assert scored.output["score"]["der"] == pytest.approx(0.3 / 39, abs=1e-6)
    empty = tmp_path / "empty.json"
    empty.write_text('{"segments": []}')
    assert (await under_test.run(task, {"diarization_file": str(empty)})).output["valid"] is False
    for body, code in (
        ("{}", "DIARIZATION_UNREADABLE"),
        ('{"success": false, "error": {"message": "m"}}', "DIARIZATION_FAILED"),
    ):
        empty.write_text(body)
        assert (await under_test.run(task, {"diarization_file": str(empty)})).error.code == code


@shared_loop
async def test_words_get_speakers(under_test: NodeUnderTest, result_file: Path, tmp_path: Path) -> None:
    """The transcript comes back whole, with speakers in words and segments."""
    transcript = tmp_path / "transcript.json"
    words = [{"word": "yes", "start": 1.0, "end": 1.4}, {"word": "no", "start": 4.25, "end": 4.45}]
    transcript.write_text(
        json.dumps({"metadata": {"language": "en"}, "segments": [{"start": 1, "end": 5, "words": words}]})
    )
    result = await under_test.run(
        "pyannote_audio.assign_speakers",
        {"segments_file": str(transcript), "diarization_file": str(result_file)},
    )
    document = json.loads(result.file("segments_file").read_text())
    assert document["metadata"] == {"language": "en"}
    assert [word["speaker"] for word in document["segments"][0]["words"]] == ["SPEAKER_00", "SPEAKER_01"]
    assert result.output["speaker_word_counts"] == {"SPEAKER_00": 1, "SPEAKER_01": 1}
    transcript.write_text('{"segments": [{"text": "no times"}]}')
    refused = await under_test.run(
        "pyannote_audio.assign_speakers",
        {"segments_file": str(transcript), "diarization_file": str(result_file)},
    )
    assert refused.error.code == "TRANSCRIPT_UNREADABLE"
