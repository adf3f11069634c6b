"""What a file's headers promise of a track's length, against what it holds: how a film that was cut off on its way is noticed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from media.probe import AudioStream, MediaFacts, VideoStream

_SHORT_BY_SECONDS = {"sound": 0.5, "pictures": 1.0}
"""More than containers round by."""
_STANDS_STILL = 0.05
"""Of a film, how long its last frame may rightly stand, and by how much one track may end before the other."""
_ALONE = {"sound": ("sound ends", "pictures go on"), "pictures": ("pictures end", "sound goes on")}


@dataclass(frozen=True)
class Promise:
    """How long a track is by its file's headers."""

    name: str
    """The file's, for messages."""
    track: Literal["sound", "pictures"]
    seconds: float
    """The track's length; of the whole file, when the last of its tracks ends."""
    is_the_tracks: bool
    """Whether the header speaks of this track; otherwise of the whole file, whose other tracks may go on alone."""

    def broken(self, held_seconds: float, begins_seconds: float = 0.0) -> str | None:
        """Return the line for people when the track ends well before; None: the promise is kept.

        `begins_seconds` is when the track begins on the film's clock, where `held_seconds` does not begin with the film.
        """
        got = held_seconds if self.is_the_tracks else begins_seconds + held_seconds
        slack = _SHORT_BY_SECONDS[self.track]
        if self.track == "pictures" or not self.is_the_tracks:
            slack = max(1.0, self.seconds * _STANDS_STILL)
        if got >= self.seconds - slack:
            return None
        if self.is_the_tracks:
            return (
                f"{self.name} promises {self.seconds:.3f} s of {self.track} and holds {got:.3f} s: "
                "it is cut off or damaged"
            )
        ends, others = _ALONE[self.track]
        return (
            f"{self.name} promises {self.seconds:.3f} s and its {ends} at {got:.3f} s: it is cut off or damaged, "
            f"or its {others} alone"
        )


def promise_of(facts: MediaFacts, stream: VideoStream | AudioStream) -> Promise | None:
    """Return what a file promises of one of its tracks; None where its headers only estimate, or say nothing."""
    is_sound = isinstance(stream, AudioStream)
    track: Literal["sound", "pictures"] = "sound" if is_sound else "pictures"
    if facts.has_index:
        seconds, is_the_tracks = stream.duration_seconds, True
    else:
        seconds = facts.duration_seconds if facts.has_length else None
        is_the_tracks = not (facts.videos if is_sound else facts.audios)
    return None if seconds is None else Promise(facts.name, track, seconds, is_the_tracks)
