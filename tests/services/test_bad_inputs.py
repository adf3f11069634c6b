"""What people give the nodes that hear and speak by mistake, and what machines do to them: a right result, or an error that says
what is wrong and names the field. Sounds that are odd but right are in each node's own tests.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from nodekit import Node
from nodekit.models import model_store
from nodekit.testkit import NodeUnderTest
from services.asr.node import node as asr_node
from services.asr.settings import asr_settings
from services.diarize.node import node as diarize_node
from services.diarize.settings import diarize_settings
from services.separate.node import node as separate_node
from services.separate.settings import separate_settings
from services.tts.node import node as tts_node
from services.tts.settings import tts_settings

SECTIONS = (asr_settings, diarize_settings, separate_settings, tts_settings)
HEAR, DIARIZE = "faster_whisper.transcribe_audio", "pyannote_audio.diarize_speakers"
SEPARATE, ENHANCE = "audio_separator.separate_vocals", "audio_separator.enhance_speech"
SPEAK = "indextts.generate_speech"
TASKS: dict[str, tuple[Node, str, dict[str, Any]]] = {
    HEAR: (asr_node, "audio_path", {"engine": "pocketsphinx"}),
    DIARIZE: (diarize_node, "audio_path", {"engine": "mfcc"}),
    SEPARATE: (separate_node, "audio_path", {"engine": "repet"}),
    ENHANCE: (separate_node, "audio_path", {}),
    SPEAK: (tts_node, "speaker_audio", {"text": "Hello.", "engine": "cosyvoice"}),
}
"""Every task that hears something: its node, the field that names the recording, and the rest of an input."""
shared_loop = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def replicas(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[dict[str, NodeUnderTest]]:
    """A replica of each node, by task."""
    found: dict[str, NodeUnderTest] = {}
    roots = (tmp_path_factory.getbasetemp(),)
    async with AsyncExitStack() as stack:
        of_node: dict[str, NodeUnderTest] = {}
        for task, (node, _, _) in TASKS.items():
            if node.name not in of_node:
                folder = tmp_path_factory.mktemp(node.name)
                of_node[node.name] = await stack.enter_async_context(
                    NodeUnderTest(node, folder, allowed_roots=roots)
                )
            found[task] = of_node[node.name]
        yield found


@pytest.fixture
def settings() -> Iterator[Callable[..., None]]:
    """Give a function that sets settings by their variables, for the test."""
    with pytest.MonkeyPatch.context() as patch:

        def set_all(**variables: str) -> None:
            for name, value in variables.items():
                patch.setenv(f"YIVIDEO_{name}", value)
            _forget()

        yield set_all
    _forget()


def _forget() -> None:
    for section in SECTIONS:
        section.cache_clear()


def make(path: Path, *arguments: str) -> Path:
    """Make a media file."""
    subprocess.run(["ffmpeg", "-v", "error", "-y", "-f", "lavfi", *arguments, str(path)], check=True)
    return path


@shared_loop
@pytest.mark.parametrize("task", TASKS)
async def test_what_is_no_sound_is_told_by_its_field(
    replicas: dict[str, NodeUnderTest], task: str, tmp_path: Path
) -> None:
    """No bytes, a text, a film without sound: each task says so, and names the field that has it."""
    _, field, rest = TASKS[task]
    if task == ENHANCE and not model_store().has("deepfilternet3"):
        pytest.skip("needs `make models names=deepfilternet3`")
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("this is no sound " * 100)
    make(tmp_path / "mute.mkv", "-i", "color=s=64x64:r=5:d=1", "-c:v", "mpeg4")
    for name, code in (
        ("empty.wav", "MEDIA_EMPTY"),
        ("text.wav", "MEDIA_UNREADABLE"),
        ("mute.mkv", "NO_AUDIO_STREAM"),
    ):
        result = await replicas[task].run(
            task, {**rest, field: str(tmp_path / name)}, task_id=f"{task.replace('.', '-')}-{name}"
        )
        expected = "REFERENCE_UNUSABLE" if task == SPEAK else code
        assert (result.error.code, result.error.field) == (expected, f"/{field}"), (name, result.error)
        assert not result.error.retryable
        assert str(tmp_path) not in result.error.message, "a path of the machine is nobody's business"


VOICES = {
    "silence": ("anullsrc=r=16000:cl=mono:d=3", "silent"),
    "one sample": ("sine=r=24000,atrim=end_sample=1", "at least 1 s"),
    "no sample": ("sine,atrim=end_sample=0", "no sound"),
    "half a second": ("sine=d=0.5", "at least 1 s"),
}


@pytest.mark.slow
@shared_loop
@pytest.mark.parametrize("kind", VOICES)
async def test_a_voice_must_be_heard(replicas: dict[str, NodeUnderTest], tmp_path: Path, kind: str) -> None:
    """Silence and what is too short to know a voice by never reach an engine, which would speak noise."""
    source, said = VOICES[kind]
    voice = make(tmp_path / "voice.wav", "-i", source)
    fields = {"text": "Hello.", "engine": "cosyvoice", "spk_audio_prompt": str(voice)}
    error = (await replicas[SPEAK].run(SPEAK, fields, task_id=f"voice-{kind.replace(' ', '-')}")).error
    assert (error.code, error.field) == ("REFERENCE_UNUSABLE", "/spk_audio_prompt")
    assert said in error.message


_BEFORE = {"campplus-zh-en": ("pyannote-segmentation-3.0",), "kokoro-voices": ("kokoro-82m-int8",)}
"""Models that an engine looks at before the one that is damaged."""


@pytest.mark.slow
@shared_loop
@pytest.mark.parametrize(
    ("task", "model", "rest", "field"),
    [
        (HEAR, "faster-whisper-base", {"model": "faster-whisper-base"}, "/model"),
        (DIARIZE, "campplus-zh-en", {"engine": "neural"}, "/engine"),
        (SEPARATE, "deepfilternet3", {"engine": "deepfilternet"}, "/engine"),
        (ENHANCE, "deepfilternet3", {}, ""),
        (SPEAK, "kokoro-voices", {"voice": "zf_xiaoxiao"}, "/voice"),
        (SPEAK, "kokoro-82m-int8", {"engine": "kokoro"}, "/engine"),
    ],
)
async def test_a_damaged_model_is_refused(
    replicas: dict[str, NodeUnderTest],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    task: str,
    model: str,
    rest: dict[str, Any],
    field: str,
) -> None:
    """Files of the right size and the wrong content are never loaded: the error says whose digest is wrong and what fetches it."""
    store = model_store()
    for name in _BEFORE.get(model, ()):
        if not store.has(name):
            pytest.skip(f"needs `make models names={name}`, whose absence would be told first")
        (tmp_path / name).symlink_to(store.root / name)
    for file in store.entry(model).files:
        path = tmp_path / model / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as hollow:
            hollow.truncate(file.size)
    monkeypatch.setenv("YIVIDEO_MODELS", str(tmp_path))
    sound = make(tmp_path / "sound.wav", "-i", "sine=d=1")
    own = {"text": "你好"} if task == SPEAK else {"audio_path": str(sound)}
    result = await replicas[task].run(task, {**own, **rest}, task_id=f"damaged-{model}-{task[16:]}")
    error = result.error
    assert (error.code, error.field, error.retryable) == ("MODEL_MISSING", field, False), error
    assert f"make models names={model}" in error.message
    assert "damaged" in error.message


@pytest.mark.slow
@shared_loop
async def test_a_folder_of_models_that_are_none(
    replicas: dict[str, NodeUnderTest], tmp_path: Path, settings: Callable[..., None]
) -> None:
    """Folders that an operator has set wrongly: the error names the setting or the folder, and what it lacks."""
    sound = make(tmp_path / "sound.wav", "-i", "sine=d=2")
    whisper, empty = tmp_path / "large", tmp_path / "empty"
    whisper.mkdir()
    empty.mkdir()
    for name in ("model.bin", "config.json", "tokenizer.json"):
        (whisper / name).write_text("{}")
    settings(
        ASR__MODEL=str(whisper),
        DIARIZE__PIPELINE=str(empty),
        SEPARATE__DEMUCS_FOLDER=str(tmp_path / "nowhere"),
        TTS__INDEXTTS_FOLDER=str(tmp_path / "nowhere"),
    )
    cases = {
        HEAR: ({"audio_path": str(sound)}, "MODEL_UNUSABLE", "the model large cannot be loaded"),
        DIARIZE: ({"audio_path": str(sound)}, "MODEL_MISSING", "has no config.yaml"),
        SEPARATE: ({"audio_path": str(sound)}, "MODEL_MISSING", "is no folder"),
        SPEAK: ({"text": "Hi.", "spk_audio_prompt": str(sound)}, "ENGINE_UNREACHABLE", "tts.indextts_folder"),
    }
    for task, (fields, code, said) in cases.items():
        error = (await replicas[task].run(task, fields, task_id=f"folder-{task[:4]}")).error
        assert error.code == code, error
        assert said in error.message, error


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "task", "fields", "mib"),
    [
        ("services.asr.node", HEAR, {"engine": "pocketsphinx"}, 4),
        ("services.diarize.node", DIARIZE, {"engine": "mfcc"}, 4),
        ("services.separate.node", SEPARATE, {"engine": "repet"}, 4),
        ("services.separate.node", SEPARATE, {"engine": "repet"}, 56),
        ("services.tts.node", SPEAK, {"text": "One more sentence is spoken. " * 60}, 1),
    ],
)
def test_a_full_disk_is_told(
    tmp_path: Path, module: str, task: str, fields: dict[str, Any], mib: int
) -> None:
    """When the scratch disk is full, while decoding or later, the task fails so that another node may try it, and frees all that it
    took.
    """
    unshare = ["unshare", "--user", "--map-root-user", "--mount"]
    if not shutil.which("unshare") or subprocess.run([*unshare, "true"], capture_output=True).returncode:
        pytest.skip("needs user namespaces to mount a small file system")
    disk, files = tmp_path / "disk", tmp_path / "files"
    disk.mkdir()
    files.mkdir()
    if "audio_path" in json.dumps(TASKS[task][1]):
        sound = make(files / "long.flac", "-i", "anoisesrc=r=16000:a=0.1:d=400", "-ac", "1")
        fields = {**fields, "audio_path": str(sound)}
    argv = [sys.executable, "-m", "tests.services.full_disk", module, str(disk), task, json.dumps(fields)]
    inside = f'mount -t tmpfs -o size={mib}m tmpfs {disk} && exec "$@"'
    done = subprocess.run([*unshare, "sh", "-c", inside, "sh", *argv], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    outcome, code, retryable, field, left = json.loads(done.stdout.splitlines()[-1])
    assert (outcome, code, retryable, field) == ("failed", "DISK_FULL", True, ""), (done.stdout, done.stderr)
    assert left < 256 * 1024
