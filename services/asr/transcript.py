"""What was heard: words, segments, and what a stretch of a recording came to. Times are seconds on the recording's clock."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Word:
    """One spoken word; in scripts without spaces, one token of the recogniser."""

    start: float
    end: float
    text: str
    """As the recogniser wrote it; a leading space belongs to it where the script has spaces."""
    probability: float
    """0 to 1."""
    aligned: bool = True
    """Whether its times were measured; False: they were spread over the time that its neighbours leave."""

    def to_json(self) -> dict[str, Any]:
        """Return it as the origin's segment files have it, with `aligned` only when it was not."""
        body = {
            "word": self.text,
            "start": round(self.start, 3),
            "end": round(self.end, 3),
            "probability": round(self.probability, 4),
        }
        return body if self.aligned else {**body, "aligned": False}


@dataclass(frozen=True, slots=True)
class Decoding:
    """How sure the recogniser was of a window of speech, and how it got there."""

    avg_logprob: float = 0.0
    no_speech_prob: float = 0.0
    compression_ratio: float = 1.0
    temperature: float = 0.0
    """0: beam search; above: sampled, after beam search had failed."""


UNKNOWN = Decoding()
"""Of an engine that does not say how sure it is."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Some words that belong together: a sentence, or what is said between two pauses."""

    start: float
    end: float
    text: str
    words: tuple[Word, ...]
    language: str
    decoding: Decoding = UNKNOWN
    tokens: tuple[int, ...] = ()
    channel: int | None = None
    """Which channel of the recording, from 0; None: all of them mixed."""

    def to_json(self, number: int, *, words: bool = True) -> dict[str, Any]:
        """Return it in the origin's form."""
        body: dict[str, Any] = {
            "id": number,
            "seek": round(self.start * 100),
            "start": round(self.start, 3),
            "end": round(self.end, 3),
            "text": self.text,
            "tokens": list(self.tokens),
            **{name: round(value, 4) for name, value in asdict(self.decoding).items()},
            "language": self.language,
        }
        if self.channel is not None:
            body |= {"channel": self.channel, "speaker": self.speaker}
        if words:
            body["words"] = [word.to_json() for word in self.words]
        return body

    @property
    def speaker(self) -> str | None:
        """A name for its channel, where channels are apart."""
        return None if self.channel is None else f"CHANNEL_{self.channel}"

    def on(self, channel: int | None) -> Self:
        """Return it as heard on a channel."""
        return replace(self, channel=channel)


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of the speech that the voice activity detector hears has words."""

    speech_seconds: float = 0.0
    text_seconds: float = 0.0
    missed: tuple[tuple[float, float], ...] = ()
    """Stretches of speech, start and end, in which no word was heard, or far too few."""

    def __add__(self, other: Coverage) -> Coverage:
        return Coverage(
            self.speech_seconds + other.speech_seconds,
            self.text_seconds + other.text_seconds,
            self.missed + other.missed,
        )


NOTHING = Coverage()
"""Of a stretch without speech, or one that no detector has looked at."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What a stretch of one channel came to; the next one begins at `until`."""

    channel: int
    until: float
    segments: tuple[Segment, ...]
    coverage: Coverage = NOTHING
    dropped: int = 0
    """Words that were not believed: invented on silence, or said by a loop."""
