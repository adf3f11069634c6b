"""How soon a task's first sentence can be heard, voice warm: `python -m bench.audio.tts`.

From the call to the event that tells where the first sentence is stored, for a text of ten sentences, through the node over
gRPC. Beside it, in the same run, the bare engine on the same first sentence, which is the floor. Ends with one line `RESULT {...}`,
and with status 1 when the median is over a second.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

from nodekit.testkit import NodeUnderTest
from services.tts.engines.hibari import HibariSpeaker
from services.tts.node import node
from yivideo.task.v1.task_pb2 import TaskEvent

SENTENCE = "This is the first sentence that somebody waits for."
ROUNDS = 7
GATE_MS = 1000


async def first_audio(under_test: NodeUnderTest, number: int) -> float:
    """Return the milliseconds until the first sentence is stored."""
    began, heard = time.monotonic(), []

    def note(event: TaskEvent) -> None:
        if event.HasField("progress") and "audio_path" in event.progress.data.fields:
            heard.append(time.monotonic())

    fields = {"text": f"{SENTENCE} " * 10, "stream": True}
    await under_test.run(
        "indextts.generate_speech", fields, task_id=f"t{number}", on_event=note, wait_seconds=120
    )
    return (heard[0] - began) * 1000


def bare() -> float:
    """Return the milliseconds that the engine alone takes for the sentence."""
    speaker = HibariSpeaker(threads=2)
    speaker.say(SENTENCE, 1.0)
    began = time.monotonic()
    speaker.say(SENTENCE, 1.0)
    return (time.monotonic() - began) * 1000


async def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as scratch:
        async with NodeUnderTest(node, Path(scratch)) as under_test:
            await first_audio(under_test, 0)
            times = [await first_audio(under_test, number) for number in range(1, ROUNDS)]
    engine = await asyncio.to_thread(bare)
    print(f"first audio: {[round(one) for one in times]} ms; the engine alone {engine:.0f} ms")
    middle = round(statistics.median(times))
    print("RESULT " + json.dumps({"tts_first_audio_ms": middle}))
    if middle > GATE_MS:
        sys.exit(f"over the gate of {GATE_MS} ms")


if __name__ == "__main__":
    asyncio.run(main())
