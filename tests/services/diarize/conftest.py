"""Voices that are synthesised here, recordings made of them, and the models where the machine has them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from nodekit.models import model_store
from services.diarize.engines import CAMPPLUS, SEGMENTATION
from services.diarize.turns import Turn

RATE = 16_000
LINES = (
    "The train to the coast leaves at a quarter past nine.",
    "I would rather wait until the rain has stopped.",
    "Nobody told me that the library closes so early.",
    "We found the old map behind the wardrobe.",
    "There are seven bridges in this town.",
    "He fixed the radio with a piece of wire.",
)


@cache
def say(voice: str, text: str) -> NDArray[np.float32]:
    """A sentence of a flite voice without its silences."""
    source = f"flite=voice={voice}:text='{text}'"
    argv = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", source, "-ar", str(RATE), "-f", "f32le", "-"]
    spoken = np.frombuffer(subprocess.run(argv, capture_output=True, check=True).stdout, np.float32)
    loud = np.flatnonzero(np.abs(spoken) > 0.01 * np.abs(spoken).max())
    return spoken[loud[0] : loud[-1] + 1] * np.float32(0.5 / np.abs(spoken).max())


def write_wave(path: Path, samples: NDArray[np.float32]) -> Path:
    """16-bit mono WAV of 16 kHz."""
    argv = [
        "ffmpeg",
        "-v",
        "error",
        "-y",
        "-f",
        "f32le",
        "-ar",
        str(RATE),
        "-i",
        "-",
        "-c:a",
        "pcm_s16le",
        str(path),
    ]
    subprocess.run(argv, input=samples.astype("<f4").tobytes(), check=True)
    return path


@pytest.fixture(scope="session")
def dialogue(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[Path, list[Turn]]]:
    """Make a recording in which the voices speak in the order given, with its truth; half a second between them."""
    folder = tmp_path_factory.mktemp("dialogues")

    def make(*voices: str) -> tuple[Path, list[Turn]]:
        pause = np.zeros(RATE // 2, np.float32)
        pieces, truth, place = [pause], [], 0.5
        for number, voice in enumerate(voices):
            spoken = say(voice, LINES[number % len(LINES)])
            truth.append(Turn(place, place + len(spoken) / RATE, voice))
            pieces += [spoken, pause]
            place += len(spoken) / RATE + 0.5
        return write_wave(folder / f"{'-'.join(voices)}.wav", np.concatenate(pieces)), truth

    return make


@pytest.fixture(scope="session")
def neural_models() -> None:
    """Skip where the two models have not been fetched."""
    store = model_store()
    if not (store.has(SEGMENTATION) and store.has(CAMPPLUS)):
        pytest.skip(f"needs `make models names='{SEGMENTATION} {CAMPPLUS}'`")
