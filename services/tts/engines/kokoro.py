"""Kokoro-82M: one small network with many voices. It takes phonemes, and each language has a way to them.

English goes through hibari's dictionaries, Chinese through pinyin (misaki) with English runs in between, Japanese through Open
JTalk's readings where they are installed, other languages through the program espeak-ng, which is run and not linked.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

from nodekit.models.onnx_session import open_session
from services.tts.engines.speaker import Samples
from services.tts.faults import FaultCode, TtsFault
from services.tts.text.chinese import read_figures
from services.tts.text.english import read_english
from services.tts.text.runs import split_runs
from services.tts.voices import ESPEAK_VOICES, Voice

SAMPLE_RATE = 24_000
_MAX_TOKENS = 509
_STYLE_SIZE = 256
# espeak-ng writes some sounds as two letters with a tie; the network knows them as one.
_TIED = {
    "a^ɪ": "I",
    "a^ʊ": "W",
    "d^ʒ": "ʤ",
    "e^ɪ": "A",
    "t^ʃ": "ʧ",
    "ɔ^ɪ": "Y",
    "o^ʊ": "O",
    "d^z": "ʣ",
    "t^s": "ʦ",
}


class Kokoro:
    """A loaded network with one voice."""

    sample_rate = SAMPLE_RATE

    def __init__(self, model: Path, voices: Path, voice: Voice, threads: int) -> None:
        self._session = open_session(model / "model.onnx", threads)
        self._vocabulary: dict[str, int] = json.loads((model / "vocab.json").read_text(encoding="utf-8"))[
            "vocab"
        ]
        self._styles = np.fromfile(voices / f"{voice.name}.bin", "<f4").reshape(-1, 1, _STYLE_SIZE)
        self._voice = voice
        self._english: Any = None
        self._chinese: Any = None
        self._japanese: Any = None

    def say(self, sentence: str, speed: float) -> Samples:
        """Speak one sentence; one with more sounds than the network takes is spoken in pieces."""
        tokens = [self._vocabulary[sound] for sound in self._sounds(sentence) if sound in self._vocabulary]
        pieces = [tokens[start : start + _MAX_TOKENS] for start in range(0, len(tokens), _MAX_TOKENS)]
        said = [self._speak(piece, speed) for piece in pieces]
        return np.concatenate(said) if said else np.zeros(0, np.float32)

    def _speak(self, tokens: list[int], speed: float) -> Samples:
        style = self._styles[min(len(tokens), len(self._styles) - 1)]
        names = {one.name for one in self._session.get_inputs()}
        out = self._session.run(
            None,
            {
                "input_ids" if "input_ids" in names else "tokens": np.array([[0, *tokens, 0]], np.int64),
                "style": style.astype(np.float32),
                "speed": np.array([speed], np.float32),
            },
        )
        samples: Samples = np.asarray(out[0], np.float32).ravel()
        return samples

    def _sounds(self, sentence: str) -> str:
        language = self._voice.language
        if language == "en":
            return self._of_english(sentence)
        if language == "zh":
            runs = split_runs(read_figures(sentence))
            return " ".join(self._of_english(run) if latin else self._of_chinese(run) for latin, run in runs)
        if language == "ja":
            return self._of_japanese(sentence)
        return _of_espeak(sentence, ESPEAK_VOICES[language])

    def _of_english(self, text: str) -> str:
        if self._english is None:
            from hibari.g2p import G2P

            self._english = G2P(british=self._voice.locale == "en-GB")
        return str(self._english(read_english(text)))

    def _of_japanese(self, text: str) -> str:
        if self._japanese is None:
            from misaki.ja import JAG2P

            self._japanese = JAG2P(version="pyopenjtalk")
        sounds_and_pitches = str(
            self._japanese(text)[0]
        )  # as many letters for pitch, which these weights do not know
        return sounds_and_pitches[: len(sounds_and_pitches) // 2]

    def _of_chinese(self, text: str) -> str:
        if self._chinese is None:
            import logging

            import jieba
            from misaki.zh import ZHG2P

            jieba.setLogLevel(logging.ERROR)
            self._chinese = ZHG2P()
        return str(self._chinese(text)[0])


def _of_espeak(text: str, voice: str) -> str:
    command = ["espeak-ng", "-q", "--ipa", "--tie=^", "-v", voice, "--", text]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    except FileNotFoundError:
        message = "the program espeak-ng is not installed (Debian's package espeak-ng)"
        raise TtsFault(FaultCode.LANGUAGE_UNSUPPORTED, message, "/language") from None
    except subprocess.SubprocessError as error:
        raise TtsFault(FaultCode.PROCESSING_ERROR, f"espeak-ng failed: {error}") from None
    sounds = " ".join(done.stdout.split())
    for tied, one in _TIED.items():
        sounds = sounds.replace(tied, one)
    return sounds.replace("^", "").replace("r", "ɾ" if voice != "fr-fr" else "ʁ")
