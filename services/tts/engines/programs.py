"""flite and espeak-ng, run as programs: they sound like machines, and need no model."""

from __future__ import annotations

import io
import shutil
import subprocess
import tempfile
import wave
from pathlib import Path

import numpy as np

from services.tts.engines.speaker import Samples
from services.tts.faults import FaultCode, TtsFault

_SECONDS = 120
_WORDS_PER_MINUTE = 165
_ESPEAK_VOICES = {"zh": "cmn", "en": "en-us", "fr": "fr-fr", "pt": "pt-br"}


class Flite:
    """English; a voice is slt, rms, awb, kal16 or kal."""

    sample_rate = 16_000

    def __init__(self, voice: str) -> None:
        _require("flite")
        self._voice = voice

    def say(self, sentence: str, speed: float) -> Samples:
        """Speak one sentence."""
        stretch = f"duration_stretch={1 / speed:.4f}"
        argv = ["flite", "-voice", self._voice, "--setf", stretch]
        samples, self.sample_rate = _run(argv, sentence, target="-o")
        return samples


class EspeakNg:
    """A hundred languages by formants; it reads figures by itself."""

    sample_rate = 22_050

    def __init__(self, language: str) -> None:
        _require("espeak-ng")
        self._voice = _ESPEAK_VOICES.get(language, language)

    def say(self, sentence: str, speed: float) -> Samples:
        """Speak one sentence."""
        argv = ["espeak-ng", "-v", self._voice, "-s", str(round(_WORDS_PER_MINUTE * speed))]
        samples, self.sample_rate = _run(argv, sentence, target="-w")
        return samples


def _require(program: str) -> None:
    if shutil.which(program) is None:
        message = f"the program {program} is not installed (Debian's package {program})"
        raise TtsFault(FaultCode.ENGINE_UNREACHABLE, message, "/engine")


def _run(argv: list[str], text: str, *, target: str) -> tuple[Samples, int]:
    # The text goes by a file: no sentence is then taken for an option or for one of the program's commands.
    with tempfile.TemporaryDirectory(prefix="tts-") as folder:
        words, sound = Path(folder, "text.txt"), Path(folder, "speech.wav")
        words.write_text(text + "\n", encoding="utf-8")
        try:
            done = subprocess.run(
                [*argv, "-f", str(words), target, str(sound)],
                capture_output=True, timeout=_SECONDS, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise TtsFault(FaultCode.PROCESSING_ERROR, f"{argv[0]} did not end in {_SECONDS} s") from None
        if done.returncode != 0 or not sound.exists():
            reason = done.stderr.decode(errors="replace").strip().replace(folder, "")
            raise TtsFault(FaultCode.PROCESSING_ERROR, f"{argv[0]} failed: {reason or 'it wrote nothing'}")
        return read_wav(sound.read_bytes())


def read_wav(data: bytes) -> tuple[Samples, int]:
    """Return the mono samples, and their rate, of a 16-bit WAV. Raises TtsFault."""
    try:
        with wave.open(io.BytesIO(data)) as sound:
            if sound.getsampwidth() != 2:
                raise wave.Error("samples have not 16 bits")
            samples = np.frombuffer(sound.readframes(sound.getnframes()), "<i2").astype(np.float32) / 32768
            channels, rate = sound.getnchannels(), sound.getframerate()
    except (wave.Error, EOFError, ValueError) as fault:
        raise TtsFault(FaultCode.PROCESSING_ERROR, f"what the engine wrote is no WAV: {fault}") from None
    mono: Samples = samples.reshape(-1, channels).mean(axis=1, dtype=np.float32)
    return mono, rate
