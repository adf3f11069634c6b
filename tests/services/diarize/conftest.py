"""Voices that are synthesised here, recordings made of them, and the models where the machine has them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bench.quality.dialogues import SAMPLE_RATE, say, write_wave
from nodekit.models import model_store
from services.diarize.engines import CAMPPLUS, SEGMENTATION
from services.diarize.turns import Turn

LINES = (
    "The train to the coast leaves at a quarter past nine.",
    "I would rather wait until the rain has stopped.",
    "Nobody told me that the library closes so early.",
    "We found the old map behind the wardrobe.",
    "There are seven bridges in this town.",
    "He fixed the radio with a piece of wire.",
)


@pytest.fixture(scope="session")
def dialogue(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[Path, list[Turn]]]:
    """Make a recording in which the voices speak in the order given, with its truth; half a second between them."""
    folder = tmp_path_factory.mktemp("dialogues")

    def make(*voices: str) -> tuple[Path, list[Turn]]:
        pause = np.zeros(SAMPLE_RATE // 2, np.float32)
        pieces, truth, place = [pause], [], 0.5
        for number, voice in enumerate(voices):
            spoken = say(voice, LINES[number % len(LINES)])
            truth.append(Turn(place, place + len(spoken) / SAMPLE_RATE, voice))
            pieces += [spoken, pause]
            place += len(spoken) / SAMPLE_RATE + 0.5
        return write_wave(folder / f"{'-'.join(voices)}.wav", np.concatenate(pieces)), truth

    return make


@pytest.fixture(scope="session")
def neural_models() -> None:
    """Skip where the two models have not been fetched."""
    store = model_store()
    if not (store.has(SEGMENTATION) and store.has(CAMPPLUS)):
        pytest.skip(f"needs `make models names='{SEGMENTATION} {CAMPPLUS}'`")
