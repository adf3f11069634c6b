"""Laws of the large engines: their real code loads a folder of the documented form, and the node's task comes to its end with it.

Weights are random, so that what is found means nothing; every step from the folder to the stored result is real.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from nodekit.models import model_store
from nodekit.testkit import NodeUnderTest
from services.asr.node import node as asr_node
from services.asr.settings import asr_settings
from tests.engines import tiny_whisper
from tests.engines.large_engine import LargeEngine, completed

pytestmark = [pytest.mark.engines, pytest.mark.timeout(1500)]


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    """Twelve seconds of two voices over music."""
    path = tmp_path / "sound.wav"
    speech = "flite=voice={}:text='The train to the coast leaves at a quarter past nine.'"
    inputs = [part for voice in ("slt", "rms") for part in ("-f", "lavfi", "-i", speech.format(voice))]
    stereo = "aformat=channel_layouts=stereo"
    graph = f"[0:a][1:a]concat=n=2:v=0:a=1,aresample=44100,{stereo},apad=whole_dur=12[v];[2:a]{stereo}[m];[v][m]amix=2"
    music = ["-f", "lavfi", "-i", "sine=f=220:r=44100:d=12"]
    subprocess.run(
        ["ffmpeg", "-v", "error", *inputs, *music, "-filter_complex", graph, str(path)], check=True
    )
    return path


def of_torch(name: str, maker: str, module: str, task: str) -> LargeEngine:
    """One of `setup/engine.sh`."""
    return LargeEngine(f"engine-{name}", ("setup/engine.sh", name), maker, module, task)


PYANNOTE = of_torch(
    "pyannote",
    "tests.engines.tiny_pyannote",
    "services.diarize.node",
    "pyannote_audio.diarize_speakers",
)
SEPARATION = ("services.separate.node", "audio_separator.separate_vocals")
DEMUCS = of_torch("demucs", "tests.engines.tiny_demucs", *SEPARATION)
ROFORMER = of_torch("separator", "tests.engines.tiny_roformer", *SEPARATION)


def run(
    engine: LargeEngine, folder: Path, setting: str, task_input: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Make an engine's environment and model, and run its task twice; gives both results."""
    engine.make(folder)
    return completed(engine.results(folder.parent, task_input, {setting: str(folder)}))


def test_a_pipeline_of_pyannote(sound: Path, tmp_path: Path) -> None:
    """A folder like community-1's is loaded by pyannote.audio, told how many speak, and warm the second time."""
    given = {"audio_path": str(sound), "max_speakers": 3}
    first, second = run(PYANNOTE, tmp_path / "community-1", "YIVIDEO_DIARIZE__PIPELINE", given)
    assert first["engine"] == "pyannote.audio"
    assert first["model_name"].startswith("community-1 (pyannote.audio 4")
    assert first["total_speakers"] <= 3
    assert (first["statistics"]["model_warm"], second["statistics"]["model_warm"]) == (False, True)
    assert first["total_segments"] == second["total_segments"]


@pytest.mark.parametrize(
    ("engine", "name", "model"), [(DEMUCS, "demucs", "htdemucs"), (ROFORMER, "roformer", "tiny_bs_roformer")]
)
def test_a_separator(sound: Path, tmp_path: Path, engine: LargeEngine, name: str, model: str) -> None:
    """A folder is loaded by the package's own code without the network; stems have the recording's shape; warm the second time."""
    given = {"audio_path": str(sound), "model_name": model}
    setting = f"YIVIDEO_SEPARATE__{name.upper()}_FOLDER"
    first, second = run(engine, tmp_path / "models", setting, given)
    assert (first["engine"], first["model_used"].split()[0]) == (name, model)
    assert (first["sound"]["sample_rate"], first["sound"]["channels"]) == (44_100, 2)
    assert (first["statistics"]["model_warm"], second["statistics"]["model_warm"]) == (False, True)


async def test_a_whisper_of_any_size(
    sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """A folder that an operator has set is loaded, whatever its size: languages, search, alignment and files go through."""
    if not model_store().has("faster-whisper-base"):
        pytest.skip("needs a tokenizer: `make models names=faster-whisper-base`")
    tokenizer = model_store().folder("faster-whisper-base") / "tokenizer.json"
    folder = tiny_whisper.write(tmp_path / "whisper-tiny-random", tokenizer)
    monkeypatch.setenv("YIVIDEO_ASR__MODEL", str(folder))
    asr_settings.cache_clear()
    request.addfinalizer(asr_settings.cache_clear)
    async with NodeUnderTest(asr_node, tmp_path) as under_test:
        for language in ("en", "auto"):
            given = {
                "audio_path": str(sound),
                "language": language,
                "temperature": 0.0,
                "formats": ["srt", "ass"],
            }
            result = await under_test.run(
                "faster_whisper.transcribe_audio", given, task_id=f"tiny-{language}", wait_seconds=300
            )
            assert result.outcome == "completed", result.error
            assert (result.output["model_name"], result.output["engine"]) == (folder.name, "faster-whisper")
            assert set(result.output["transcript_files"]) == {"json", "srt", "ass"}
