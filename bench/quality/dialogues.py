"""Dialogues of several voices whose truth is known, because they are put together here: `make(...)`.

The voices are ffmpeg's flite ones. Every utterance is synthesised alone, its silences are cut off, and it is laid on the time
line at a known place; so the turns are true to the sample. What is made depends on the seed alone.
"""

from __future__ import annotations

import random
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from services.diarize.turns import Turn

SAMPLE_RATE = 16_000
VOICES = ("slt", "rms", "awb", "kal")
_QUIET = 0.01
SENTENCES = (
    "The train to the coast leaves at a quarter past nine, from platform four.",
    "I would rather wait until the rain has stopped, if you do not mind.",
    "Nobody told me that the library closes so early on a Thursday.",
    "Could you read me the second paragraph once more, a little slower please?",
    "We found the old map behind the wardrobe, folded into an envelope.",
    "That is exactly what my sister said when she came back from the mountains.",
    "There are seven bridges in this town and I have crossed every one of them today.",
    "He fixed the radio with a piece of wire and a great deal of patience.",
    "Most of the apples were gone before the frost came in October.",
    "If the numbers are right, then somebody has counted the same box twice.",
    "Yes, that sounds good to me.",
    "The harbour was quiet, and only one small boat was moving between the piers.",
    "Please put the kettle on while I look for the letter from the bank.",
    "It took them three summers to paint the fence around the orchard.",
    "No, I have never seen that film from the beginning to the end.",
    "They promised to send the spare part by the end of the following week.",
)


@dataclass(frozen=True)
class Dialogue:
    """One made recording."""

    name: str
    samples: NDArray[np.float32]
    turns: tuple[Turn, ...]


@cache
def say(voice: str, text: str) -> NDArray[np.float32]:
    """Return a sentence in a voice, 16 kHz, its silences cut off, peak 0.5."""
    quoted = text.replace(":", "").replace(",", "\\,")
    source = f"flite=voice={voice}:text='{quoted}'"
    argv = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", source, "-ar", str(SAMPLE_RATE), "-f", "f32le", "-"]
    spoken = np.frombuffer(subprocess.run(argv, capture_output=True, check=True).stdout, np.float32)
    loud = np.flatnonzero(np.abs(spoken) > _QUIET * np.abs(spoken).max())
    spoken = spoken[loud[0] : loud[-1] + 1]
    return np.asarray(spoken * (0.5 / np.abs(spoken).max()), np.float32)


def make(voices: int, seed: int, turns: int = 12, *, noise_db: float = -60.0) -> Dialogue:
    """Return a dialogue in which `voices` take turns at random; pauses from 0.2 to 0.9 s; noise in dBFS."""
    chance = random.Random(1000 * voices + seed)
    cast = chance.sample(VOICES, voices)
    order = list(cast)
    while len(order) < turns:
        order.append(chance.choice([voice for voice in cast if voice != order[-1]]))
    pieces, truth, place = [np.zeros(SAMPLE_RATE // 2, np.float32)], [], 0.5
    for voice in order:
        spoken = say(voice, chance.choice(SENTENCES))
        spoken = spoken * chance.uniform(0.5, 1.0)
        truth.append(Turn(place, place + len(spoken) / SAMPLE_RATE, voice))
        pause = np.zeros(int(chance.uniform(0.2, 0.9) * SAMPLE_RATE), np.float32)
        pieces += [spoken, pause]
        place += (len(spoken) + len(pause)) / SAMPLE_RATE
    samples = np.concatenate(pieces)
    hiss = np.random.default_rng(seed).standard_normal(len(samples)).astype(np.float32)
    return Dialogue(
        f"{voices} voices, seed {seed}", samples + hiss * np.float32(10 ** (noise_db / 20)), tuple(truth)
    )


def write_wave(path: Path, samples: NDArray[np.float32], sample_rate: int = SAMPLE_RATE) -> Path:
    """Write 16-bit mono WAV."""
    argv = [
        "ffmpeg",
        "-v",
        "error",
        "-y",
        "-f",
        "f32le",
        "-ar",
        str(sample_rate),
        "-i",
        "-",
        "-c:a",
        "pcm_s16le",
        str(path),
    ]
    subprocess.run(argv, input=samples.astype("<f4").tobytes(), check=True)
    return path
