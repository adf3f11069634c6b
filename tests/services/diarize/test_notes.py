"""What an engine leaves for the process that takes its place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nodekit.models import model_store
from services.diarize.engine import Wanted
from services.diarize.engines import choose
from services.diarize.notes import Notes
from services.diarize.settings import DiarizeSection
from services.diarize.sound import Sound
from services.diarize.turns import Diarization


@pytest.mark.parametrize("left", [0, 3, 4, 11, 12, 27, 28])
def test_a_torn_row_is_no_row(tmp_path: Path, left: int) -> None:
    """Wherever its writer died, a table has its whole rows, and more can be added behind them."""
    rows = np.arange(6, dtype=np.float32).reshape(3, 2)
    notes = Notes(tmp_path)
    assert notes.rows("table").shape == (0, 0)
    notes.add("table", rows[:1])
    notes.add("table", rows[1:])
    path = tmp_path / "table"
    path.write_bytes(path.read_bytes()[:left])
    whole = max(left - 4, 0) // 8
    assert notes.rows("table").tolist() == rows[:whole].tolist()
    notes.add("table", rows[whole:])
    assert notes.rows("table").tolist() == rows.tolist()


@pytest.mark.slow
@pytest.mark.timeout(400)  # a meeting is told apart three times
@pytest.mark.usefixtures("neural_models")
@pytest.mark.parametrize("steps", [3, 6])
def test_the_neural_engine_goes_on(tmp_path: Path, shared_media: Path, steps: int) -> None:
    """Broken off while it finds speech or compares voices, the engine goes on with its notes and comes to the same answer."""
    engine = choose("neural", DiarizeSection(), model_store(), 1).load()
    sound = Sound(shared_media / "diar" / "ami_dev00.wav")

    def answer(folder: Path) -> tuple[Diarization, list[float]]:
        folder.mkdir(exist_ok=True)
        *passed, last = engine.diarize(sound, Wanted(), Notes(folder))
        assert isinstance(last, Diarization)
        return last, [step.share for step in passed if not isinstance(step, Diarization)]

    whole, _ = answer(tmp_path / "whole")
    (tmp_path / "broken").mkdir()
    work = engine.diarize(sound, Wanted(), Notes(tmp_path / "broken"))
    for _ in range(steps):
        next(work)
    again, shares = answer(tmp_path / "broken")
    assert [turn[:2] for turn in again.turns] == pytest.approx([turn[:2] for turn in whole.turns], abs=0.02)
    assert again.speakers == whole.speakers
    assert shares == sorted(shares)
