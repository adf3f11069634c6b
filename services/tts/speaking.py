"""A whole text spoken, sentence by sentence, into one file. Runs in a worker process.

Each sentence is trimmed of the silence that engines leave around it, so that the pauses are ours, and appended to the file: a
long text takes no more memory than its longest sentence.
"""

from __future__ import annotations

import hashlib
import json
import wave
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.tts.engines.speaker import Samples, Speaker


@dataclass(frozen=True)
class Sentence:
    """One sentence of the text."""

    text: str
    pause_seconds: float
    """Silence behind it."""


@dataclass(frozen=True)
class Spoken:
    """One sentence is spoken."""

    number: int
    """From 0."""
    text: str
    start: float
    """Seconds in the file."""
    end: float
    sample_rate: int
    """Of the file."""
    part: str
    """File with this sentence alone; empty unless asked for."""


@dataclass(frozen=True)
class Cast:
    """Who speaks, with what."""

    engine: str
    """`kokoro`, `hibari`, `flite`, `espeak-ng`, `indextts2`, `gptsovits` or `cosyvoice`."""
    voice: str = ""
    model_folder: str = ""
    voices_folder: str = ""
    url: str = ""
    reference: str = ""
    prompt_text: str = ""
    language: str = ""
    timeout_seconds: float = 600.0
    seed: int = 0
    python: str = ""
    """Interpreter of the engine's own environment."""
    manner: str = ""
    """What the engine is told with each sentence, as JSON."""
    fp16: bool = False


def model_key(cast: Cast, threads: int) -> str:
    """Return a short name for what a cast loads, equal for equal casts; behind a `#` a digest stands for what users brought."""
    own = (cast.url, cast.reference, cast.prompt_text, cast.manner, cast.seed)
    digest = f"#{hashlib.sha256(repr(own).encode()).hexdigest()[:12]}" if any(own) else ""
    return f"{cast.engine}/{cast.voice or cast.language}/{threads}{digest}"


def load(cast: Cast, threads: int) -> Speaker:
    """Load the engine that a cast names. Raises TtsFault."""
    if cast.engine == "kokoro":
        from services.tts.engines.kokoro import Kokoro
        from services.tts.voices import VOICES

        return Kokoro(Path(cast.model_folder), Path(cast.voices_folder), VOICES[cast.voice], threads)
    if cast.engine == "hibari":
        from services.tts.engines.hibari import HibariSpeaker

        return HibariSpeaker(threads, cast.seed)
    if cast.engine in ("flite", "espeak-ng"):
        from services.tts.engines.programs import EspeakNg, Flite

        return Flite(cast.voice) if cast.engine == "flite" else EspeakNg(cast.language)
    if cast.engine == "indextts2":
        return _load_indextts2(cast)
    from services.tts.engines.servers import CosyVoice, GptSovits

    reference = Path(cast.reference)
    if cast.engine == "gptsovits":
        return GptSovits(cast.url, reference, cast.prompt_text, cast.language, cast.timeout_seconds)
    if cast.engine == "cosyvoice":
        return CosyVoice(cast.url, reference, cast.prompt_text, cast.timeout_seconds)
    raise ValueError(f"no engine is called {cast.engine!r}")


def _load_indextts2(cast: Cast) -> Speaker:
    from services.tts.engines.indextts2 import IndexTts2

    root, model = Path(cast.model_folder), Path(cast.voices_folder)
    return IndexTts2(root, model, Path(cast.python), fp16=cast.fp16, manner=json.loads(cast.manner))


def speak(
    speaker: Speaker,
    sentences: Sequence[Sentence],
    target: Path,
    speed: float,
    *,
    skip: int = 0,
    parts: bool = False,
) -> Iterator[Spoken]:
    """Append sentences to a file of raw 16-bit samples, giving each as soon as it is there; the first `skip` are in it already."""
    from services.tts.engines.speaker import trimmed

    for number in range(skip, len(sentences)):
        sentence = sentences[number]
        samples = trimmed(speaker.say(sentence.text, speed), speaker.sample_rate)
        start = _append(target, samples, speaker.sample_rate, sentence.pause_seconds)
        part = ""
        if parts:
            path = target.with_name(f"part-{number:04d}.wav")
            _write(path, samples, speaker.sample_rate)
            part = str(path)
        yield Spoken(
            number,
            sentence.text,
            start,
            start + len(samples) / speaker.sample_rate,
            speaker.sample_rate,
            part,
        )


def _append(target: Path, samples: Samples, sample_rate: int, pause_seconds: float) -> float:
    """Append speech and the pause behind it; returns the second at which it begins."""
    import numpy as np

    start = target.stat().st_size / 2 / sample_rate if target.exists() else 0.0
    body = (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()
    with target.open("ab") as out:
        out.write(body + bytes(2 * int(pause_seconds * sample_rate)))
    return start


def to_wav(source: Path, target: Path, sample_rate: int) -> None:
    """Write raw 16-bit samples as a WAV, a piece at a time."""
    with wave.open(str(target), "wb") as out, source.open("rb") as raw:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(sample_rate)
        while frames := raw.read(1 << 20):
            out.writeframesraw(frames)


def _write(path: Path, samples: Samples, sample_rate: int) -> None:
    import numpy as np

    _write_frames(path, (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes(), sample_rate)


def _write_frames(path: Path, frames: bytes, sample_rate: int) -> None:
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(sample_rate)
        out.writeframes(frames)
