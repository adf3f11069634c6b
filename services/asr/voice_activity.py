"""Where there is speech: rules on what the network of the room `voice_activity` says, block by block.

Measured on ../shared/media/vad (noise, silence and speech in known order): every file right at the default threshold.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from services.asr.options import VadRules
from services.asr.sound import Sound
from voice_activity import FRAME_SECONDS, probabilities

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
    frames = (share for number, share in enumerate(probabilities(blocks)) if number >= skipped)
    origin = lead + skipped * FRAME_SECONDS
    for first, last in _runs(frames, rules):
        found = Speech(max(start, origin + first * FRAME_SECONDS), min(end, origin + last * FRAME_SECONDS))
        if found.seconds > rules.min_speech_seconds:
            yield found


def _runs(frames: Iterable[float], rules: VadRules) -> Iterator[tuple[int, int]]:
    """Give runs of frames that are speech: first, and one past the last."""
    low = max(rules.threshold - 0.15, 0.01) if rules.neg_threshold is None else rules.neg_threshold
    min_silence_frames = rules.min_silence_seconds / FRAME_SECONDS
    longest = max(2, int(min(rules.max_speech_seconds, 1e6) / FRAME_SECONDS))
    run: list[float] = []
    quiet = number = 0
    for number, share in enumerate(frames, 1):
        if not run and share < rules.threshold:
            continue
        run.append(share)
        quiet = quiet + 1 if share < low or (quiet and share < rules.threshold) else 0
        if quiet >= max(1.0, min_silence_frames):
            yield number - len(run), number - quiet
            run, quiet = [], 0
        elif len(run) - quiet >= longest:
            # At the frame that is least like speech, in the later half.
            cut = int(np.argmin(run[longest // 2 : longest])) + longest // 2
            yield number - len(run), number - len(run) + cut
            run = run[cut:]
    if run:
        yield number - len(run), number - quiet
