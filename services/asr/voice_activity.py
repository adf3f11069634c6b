"""Where there is speech: Silero's network, which ships inside faster-whisper, block by block, and rules on what it says.

Measured on ../shared/media/vad (noise, silence and speech in known order): every file right at the default threshold.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from services.asr.options import VadRules
from services.asr.sound import RATE, Samples, Sound

FRAME_SAMPLES = 512
FRAME_SECONDS = FRAME_SAMPLES / RATE
_CONTEXT_SAMPLES = 64
_WARM_UP_SECONDS = 2.0
"""Sound before a stretch that the network hears first, so that a stretch gives the same wherever it begins."""


@dataclass(frozen=True, slots=True)
class Speech:
    """One stretch of speech, in seconds."""

    start: float
    end: float

    @property
    def seconds(self) -> float:
        """Length."""
        return self.end - self.start


def find_speech(
    sound: Sound, start: float, end: float, rules: VadRules, channel: int = 0
) -> Iterator[Speech]:
    """Give the speech between two instants, in order, as soon as it is found; edges are those of the speech, without pads."""
    lead = max(0.0, start - _WARM_UP_SECONDS)
    skipped = round((start - lead) / FRAME_SECONDS)
    blocks = sound.blocks(lead, end, channel, seconds=FRAME_SECONDS * 1000)
    frames = (share for number, share in enumerate(_probabilities(blocks)) if number >= skipped)
    origin = lead + skipped * FRAME_SECONDS
    for first, last in _runs(frames, rules):
        found = Speech(max(start, origin + first * FRAME_SECONDS), min(end, origin + last * FRAME_SECONDS))
        if found.seconds > rules.min_speech_seconds:
            yield found


def _probabilities(blocks: Iterable[Samples]) -> Iterator[float]:
    """Give the probability of speech of each frame of 32 ms; the network's state goes on from block to block."""
    # The engine is imported where it is used: a node that waits stays small.
    from faster_whisper.vad import get_vad_model

    session: Any = get_vad_model().session
    hidden, cell = (np.zeros((1, 1, 128), np.float32) for _ in range(2))
    tail = np.zeros(_CONTEXT_SAMPLES, np.float32)
    for block in blocks:
        frames = np.pad(block, (0, -len(block) % FRAME_SAMPLES)).reshape(-1, FRAME_SAMPLES)
        if not len(frames):
            continue
        before = np.concatenate([tail[None], frames[:-1, -_CONTEXT_SAMPLES:]])
        tail = frames[-1, -_CONTEXT_SAMPLES:]
        shares, hidden, cell = session.run(
            None, {"input": np.concatenate([before, frames], 1), "h": hidden, "c": cell}
        )
        yield from shares.reshape(-1).tolist()


def _runs(frames: Iterable[float], rules: VadRules) -> Iterator[tuple[int, int]]:
    """Give runs of frames that are speech: first, and one past the last."""
    low = max(rules.threshold - 0.15, 0.01) if rules.neg_threshold is None else rules.neg_threshold
    patience = rules.min_silence_seconds / FRAME_SECONDS
    longest = max(2, int(min(rules.max_speech_seconds, 1e6) / FRAME_SECONDS))
    run: list[float] = []
    quiet = number = 0
    for number, share in enumerate(frames, 1):
        if not run and share < rules.threshold:
            continue
        run.append(share)
        quiet = quiet + 1 if share < low or (quiet and share < rules.threshold) else 0
        if quiet >= max(1.0, patience):
            yield number - len(run), number - quiet
            run, quiet = [], 0
        elif len(run) - quiet >= longest:
            # At the frame that is least like speech, in the later half.
            cut = int(np.argmin(run[longest // 2 : longest])) + longest // 2
            yield number - len(run), number - len(run) + cut
            run = run[cut:]
    if run:
        yield number - len(run), number - quiet
