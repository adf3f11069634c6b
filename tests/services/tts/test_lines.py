"""The lines of a film on one track in step with it: fitted, placed, in a voice for each speaker, kept over a worker's death."""

from __future__ import annotations

import json
import os
import signal
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client import REGISTRY

from nodekit.models import model_store
from nodekit.testkit import NodeUnderTest, TaskResult
from runtime.structs import from_struct
from services.tts.casting import KOKORO_MODEL, KOKORO_VOICES
from services.tts.fitting import Slot, fit, slots_of
from services.tts.node import node
from services.tts.shortening import shorter
from tests.services.tts.test_node import worker_pids

needs_kokoro = pytest.mark.skipif(
    not (model_store().has(KOKORO_MODEL) and model_store().has(KOKORO_VOICES)),
    reason="`make models` brings Kokoro",
)


def test_a_line_is_sped_up_then_goes_into_the_pause_then_is_too_long() -> None:
    """In that order; a short one is slowed down, and never beyond what sounds right."""
    slot = Slot(10.0, 12.0, 12.6)
    assert fit(2.0, slot).tempo == 1.0
    assert fit(1.0, slot).tempo == 0.85 and fit(1.0, slot).overrun == 0.0
    quick = fit(2.4, slot)
    assert quick.tempo == pytest.approx(1.2) and quick.borrowed == pytest.approx(0.0)
    borrowing = fit(3.0, slot)
    assert (borrowing.tempo, borrowing.overrun) == (1.25, 0.0)
    assert borrowing.borrowed == pytest.approx(0.4)
    assert fit(4.0, slot).overrun == pytest.approx(0.6)


def test_a_slot_ends_before_the_next_line_and_the_film() -> None:
    """What may be borrowed leaves a gap; who is talked over by another has nothing to borrow."""
    first, second, third, last = slots_of([(0, 1), (3, 4), (3.5, 5), (9, 9.8)], 10.0, 1.5, 0.1)
    assert first.limit == 2.5
    assert second.limit == 4
    assert third.limit == 6.5
    assert last.limit == 10.0
    assert slots_of([(0, 1), (1.5, 2)], 10.0, 1.5, 0.1)[0].limit == pytest.approx(1.4)


def test_what_is_beside_the_point_goes_first() -> None:
    """Each version has fewer words than the one before, in its order, and none less than the line's better part."""
    text = "Well, the horizon seems (as I said) extremely distant, and we are tired, and it is late."
    found = list(shorter(text))
    assert found[0] == "Well, the horizon seems extremely distant, and we are tired, and it is late."
    assert found[1] == "The horizon seems extremely distant, and we are tired, and it is late."
    assert found[-1] == "The horizon seems extremely distant"
    assert [len(one) for one in found] == sorted((len(one) for one in found), reverse=True)
    assert list(shorter("Stop!")) == []
    assert list(shorter("今天天气很好，我们一起去公园散步，好吗？"))[-1] == "今天天气很好，我们一起去公园散步"


def track(result: TaskResult) -> tuple[np.ndarray[Any, Any], int]:
    """Return the samples of the track, and their rate."""
    with wave.open(str(result.file("audio_path"))) as source:
        return np.frombuffer(source.readframes(source.getnframes()), "<i2") / 32768.0, source.getframerate()


async def test_every_line_is_heard_in_its_time_and_nothing_elsewhere(tmp_path: Path) -> None:
    """The track is as long as the film; one that has no room is said in fewer words, and all are equally loud."""
    lines = [
        {"start": 0.5, "end": 2.4, "text": "Every accepted task ends exactly once."},
        {
            "start": 3.5,
            "end": 4.6,
            "text": "Well, nothing is lost when a machine goes away, whatever else may happen to it.",
        },
        {"start": 5.5, "end": 7.5, "text": "♪"},
        {"start": 7.6, "end": 9.6, "text": "It stops."},
    ]
    before = _speed()
    async with NodeUnderTest(node, tmp_path) as under_test:
        result = await under_test.run(
            "indextts.speak_lines", {"lines": lines, "duration": 12, "language": "en"}, wait_seconds=60
        )
    assert result.outcome == "completed", result.error
    output = result.output
    rows = json.loads(result.file("lines_file").read_text())["lines"]
    assert [row["id"] for row in rows] == [1, 2, 4] and output["duration"] == 12.0
    samples, rate = track(result)
    heard = np.abs(samples) > 0.003
    for row in rows:
        assert heard[int(row["start"] * rate) : int(row["end"] * rate)].any()
        assert 0.85 <= row["tempo"] <= 1.25 and row["overrun_ms"] <= 80
        heard[int(row["start"] * rate) : int((row["end"] + 0.02) * rate)] = False
    assert not heard.any()
    assert rows[1]["spoken_text"] != lines[1]["text"] and rows[1]["spoken_text"].startswith("Nothing is lost")
    assert output["shortened_lines"] == 1
    levels = [
        np.sqrt(np.mean(samples[int(row["start"] * rate) : int(row["end"] * rate)] ** 2)) for row in rows
    ]
    assert 20 * np.log10(max(levels) / min(levels)) < 4
    # Monitoring has how fast it was: of what was kept, before it was fitted.
    seconds = sum((row["end"] - row["start"]) * row["tempo"] for row in rows)
    now = _speed()
    assert now[0] == before[0] + 1
    assert now[1] == pytest.approx(before[1] + seconds, abs=0.2)


def _speed() -> tuple[float, float]:
    """How often lines were spoken, and their seconds, as monitoring has it."""
    names = ("yivideo_task_realtime_factor_count", "yivideo_task_media_seconds_total")
    labels = {"task_name": "indextts.speak_lines"}
    times, seconds = (REGISTRY.get_sample_value(name, labels) or 0.0 for name in names)
    return times, seconds


@needs_kokoro
@pytest.mark.slow
async def test_each_speaker_has_a_voice_and_a_dead_worker_costs_one_line(tmp_path: Path) -> None:
    """Speakers differ in voice; a worker that is killed in the middle takes no line with it."""
    lines = [
        {
            "start": 3.0 * n,
            "end": 3.0 * n + 2.5,
            "text": f"This is sentence number {n}.",
            "speaker": f"SPEAKER_0{n % 2}",
        }
        for n in range(6)
    ]
    async with NodeUnderTest(node, tmp_path) as under_test:
        killed = False

        def on_event(event: Any) -> None:
            nonlocal killed
            if event.HasField("progress") and event.progress.stage == "speaking" and not killed:
                killed = True
                for pid in worker_pids():
                    os.kill(pid, signal.SIGKILL)

        result = await under_test.run(
            "indextts.speak_lines", {"lines": lines}, wait_seconds=100, on_event=on_event
        )
    assert result.outcome == "completed", result.error
    assert killed and result.output["total_lines"] == 6
    assert len(set(result.output["voices"].values())) == 2
    assert result.output["overrun_max_ms"] <= 80


@pytest.mark.slow
async def test_the_next_attempt_takes_over_what_was_spoken(tmp_path: Path) -> None:
    """A node that goes away leaves its lines in the store: the next attempt speaks only those that are missing."""
    lines = [{"start": 2.0 * n, "end": 2.0 * n + 1.5, "text": f"Sentence {n}."} for n in range(3)]
    task = {"lines": lines, "language": "en"}
    async with NodeUnderTest(node, tmp_path) as under_test:
        first = await under_test.run(
            "indextts.speak_lines", task, task_id="film", attempt=1, fence=1, wait_seconds=60
        )
        saved = [event.checkpoint.data for event in first.events if event.HasField("checkpoint")]
        assert saved, "nothing was kept"
        kept = from_struct(saved[0])
        again = await under_test.run(
            "indextts.speak_lines", task, task_id="film", attempt=2, fence=2, checkpoint=kept, wait_seconds=60
        )
    assert again.outcome == "completed", again.error
    assert again.output["resumed_lines"] == 1
    assert [row["text"] for row in again.output["lines"]] == [line["text"] for line in lines]
