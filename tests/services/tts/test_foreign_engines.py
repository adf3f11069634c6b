"""Laws of engines that are not ours: IndexTTS2 in the process that really hosts it, with a module of its documented class for
weights; flite and espeak-ng as the programs that they are.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nodekit.gpu.metrics import model_label
from nodekit.models import ModelMissing
from nodekit.testkit import NodeUnderTest
from services.tts import casting, passages
from services.tts.engines.hibari import HibariSpeaker
from services.tts.engines.indextts2 import IndexTts2
from services.tts.engines.programs import EspeakNg, Flite
from services.tts.faults import TtsFault
from services.tts.inputs import GenerateSpeechInput
from services.tts.node import node
from services.tts.settings import TtsSection
from services.tts.speaking import Cast, model_key

MODULE = """
import json, math, struct, warnings, wave


class IndexTTS2:
    def __init__(self, cfg_path, model_dir, use_fp16=False, use_cuda_kernel=None, use_deepspeed=False):
        open(cfg_path).close()
        print("loading weights")

    def infer(self, spk_audio_prompt, text, output_path, emo_audio_prompt=None, emo_alpha=1.0, emo_vector=None,
              use_emo_text=False, emo_text=None, use_random=False, interval_silence=200, verbose=False,
              max_text_tokens_per_segment=120, **generation_kwargs):
        if text == "crash":
            raise SystemExit(3)
        if text == "bad":
            raise RuntimeError("CUDA out of memory")
        if text == "long":
            warnings.warn("WARN: generation stopped due to exceeding `max_mel_tokens` (1500).", category=RuntimeWarning)
        json.dump([spk_audio_prompt, text, emo_alpha, emo_vector, max_text_tokens_per_segment], open("asked.json", "w"))
        with wave.open(output_path, "wb") as sound:
            sound.setnchannels(1); sound.setsampwidth(2); sound.setframerate(22050)
            sound.writeframes(b"".join(struct.pack("<h", round(9000 * math.sin(n / 9))) for n in range(11025)))
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder as IndexTTS2's checkout is."""
    root = tmp_path / "index-tts"
    (root / "indextts").mkdir(parents=True)
    (root / "checkpoints").mkdir()
    (root / "checkpoints" / "config.yaml").write_text("dataset: {}\n")
    (root / "indextts" / "__init__.py").write_text("")
    (root / "indextts" / "infer_v2.py").write_text(MODULE)
    return root


@pytest.fixture
def loaded(checkout: Path) -> Iterator[Callable[[], IndexTts2]]:
    """Return a function that loads it; its processes are ended behind the test."""
    kept: list[IndexTts2] = []

    def load() -> IndexTts2:
        manner = {"spk_audio_prompt": "/me.wav", "emo_alpha": 0.6, "max_text_tokens_per_segment": 80}
        model = checkout / "checkpoints"
        kept.append(IndexTts2(checkout, model, Path(sys.executable), fp16=False, manner=manner))
        return kept[-1]

    yield load
    for engine in kept:
        engine.close()


def test_indextts2_is_told_everything_under_its_own_names(
    loaded: Callable[[], IndexTts2], checkout: Path
) -> None:
    """Recording, emotion and token limit reach `infer`; its WAV comes back, whatever it prints."""
    engine = loaded()
    samples = engine.say("hello", 1.0)
    assert (len(samples), engine.sample_rate) == (11_025, 22_050)
    assert np.abs(samples).max() > 0.2
    assert json.loads((checkout / "asked.json").read_text()) == ["/me.wav", "hello", 0.6, None, 80]


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("bad", "PROCESSING_ERROR", "out of memory"),
        ("long", "SPEECH_DIFFERS", "before the end"),
        ("crash", "PROCESSING_ERROR", "status 3"),
    ],
)
def test_indextts2_failures_are_told(
    loaded: Callable[[], IndexTts2], text: str, code: str, said: str
) -> None:
    """An error is told, speech that the model cut off is refused, and a process that dies is noticed."""
    with pytest.raises(TtsFault, match=said) as failed:
        loaded().say(text, 1.0)
    assert failed.value.code == code


def test_indextts2_without_weights(loaded: Callable[[], IndexTts2], checkout: Path) -> None:
    """A folder without weights is told when it is loaded."""
    (checkout / "checkpoints" / "config.yaml").unlink()
    with pytest.raises(TtsFault, match="cannot be loaded") as failed:
        loaded()
    assert failed.value.code == "ENGINE_UNREACHABLE"


def test_a_recording_is_cloned_by_what_is_configured(checkout: Path) -> None:
    """IndexTTS2 goes before the servers; without a recording it does not speak."""
    settings = TtsSection(indextts_folder=checkout, gptsovits_url="http://127.0.0.1:9880")
    me = Path("/me.wav")
    part = casting.choose(
        engine="auto", voice="", language="zh", reference=me, prompt_text="", settings=settings, seed=4
    )
    assert (part.engine, json.loads(part.cast.manner)["seed"]) == ("indextts2", 4)
    with pytest.raises(TtsFault) as failed:
        casting.choose(
            engine="indextts2", voice="", language="zh", reference=None, prompt_text="", settings=settings
        )
    assert failed.value.code == "REFERENCE_UNUSABLE"


def test_flite_speaks_faster_when_asked() -> None:
    """Speed changes how long it takes."""
    voice = Flite("slt")
    slow, fast = (len(voice.say("One sentence to measure.", speed)) for speed in (0.8, 1.6))
    assert slow > 1.5 * fast


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="needs espeak-ng")
async def test_other_languages_are_spoken_by_espeak(tmp_path: Path) -> None:
    """A language that no voice here is made for is spoken all the same, and the result says by what; nonsense is refused."""
    assert len(EspeakNg("de").say("Guten Tag", 1.0)) > 10_000
    async with NodeUnderTest(node, tmp_path) as under_test:
        result = await under_test.run("indextts.generate_speech", {"text": "Guten Tag", "language": "de"})
        assert result.outcome == "completed", result.error
        assert (result.output["engine"], result.output["language"]) == ("espeak-ng", "de")
        refused = await under_test.run("indextts.generate_speech", {"text": "x", "language": "qq"})
        assert (refused.error.code, refused.error.field) == ("LANGUAGE_UNSUPPORTED", "/language")


@pytest.mark.parametrize(("known", "voice"), [({"zh"}, ""), (set(), ""), ({"zh"}, "zf_xiaoxiao")])
def test_without_kokoros_weights_espeak_speaks_where_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: set[str], voice: str
) -> None:
    """The lesser engine is taken for a language that it knows, and results say why; a voice by name is refused."""
    monkeypatch.setenv("YIVIDEO_MODELS", str(tmp_path / "empty"))
    monkeypatch.setattr(casting, "espeak_languages", lambda: frozenset(known))

    def choose() -> casting.Part:
        return casting.choose(
            engine="auto", voice=voice, language="zh", reference=None, prompt_text="", settings=TtsSection()
        )

    if known and not voice:
        part = choose()
        assert part.engine == "espeak-ng"
        assert "make models" in part.warning
    else:
        with pytest.raises(ModelMissing, match="make models"):
            choose()


def test_a_voice_is_chosen_once_however_many_segments_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """Choosing looks into the model store: two voices in a hundred segments are two looks."""
    looks: list[str] = []
    choose = casting.choose

    def counted(**wish: Any) -> casting.Part:
        looks.append(wish["voice"])
        return choose(**wish)

    monkeypatch.setattr(casting, "choose", counted)
    segments = [{"text": "Good morning.", "voice": ("slt", "rms")[n % 2]} for n in range(100)]
    request = GenerateSpeechInput.model_validate({"engine": "flite", "segments": segments})
    found = passages.cut(request, None, {})
    assert len(found) == 100
    assert sorted(looks) == ["rms", "slt"]


def test_a_seed_varies_the_voice() -> None:
    """The same seed gives the same samples, another one others."""
    first, again, other = (HibariSpeaker(1, seed).say("Same again.", 1.0) for seed in (7, 7, 8))
    assert (first == again).all()
    assert (first != other).any()


def test_model_keys_tell_casts_apart_and_show_nothing_of_users() -> None:
    """Another recording, text or server is another model; what users brought cannot be read in the name."""
    mine = Cast(
        "cosyvoice", url="http://a", reference="/in/my-voice.wav", prompt_text="secret", language="zh"
    )
    others = [replace(mine, prompt_text="x"), replace(mine, url="http://b"), replace(mine, language="en")]
    keys = {model_key(cast, 1) for cast in (mine, *others)}
    assert len(keys) == 4
    assert {model_label(key) for key in keys} == {"cosyvoice/zh/1", "cosyvoice/en/1"}
    assert not any(word in key for key in keys for word in ("my-voice", "secret"))
    assert model_key(Cast("hibari", "heart"), 2) == "hibari/heart/2"
