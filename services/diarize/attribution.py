"""From voices to turns: which speaker each frame of speech belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from services.diarize.hearing import WINDOW_SECONDS, Heard, Mask, SpeechFrames
from services.diarize.turns import Diarization, Turn, named_by_appearance
from services.diarize.voice_tree import Vectors

if TYPE_CHECKING:
    from numpy.typing import NDArray

_WIDTH = WINDOW_SECONDS / 6
"""Standard deviation of the bell by which a window's voice counts for the frames around its middle, in seconds."""
_JOIN_SECONDS = 0.3
_SHORTEST_SECONDS = 0.15


def attribute(heard: Heard, speakers: Vectors, min_pause_seconds: float = _JOIN_SECONDS) -> Diarization:
    """Give each frame of speech to the speaker whose voice is likest there; where two speak at once, also to the next.

    `speakers` are unit vectors, shape (speakers, dimensions). Pauses of one speaker shorter than `min_pause_seconds` are closed.
    """
    frames = heard.frames
    if not len(speakers) or not frames.speech.any():
        return Diarization((), ())
    likeness, told = _likeness(heard, speakers)
    first = likeness.argmax(1)
    speech = frames.speech & told
    both = np.zeros((len(speech), len(speakers)), bool)
    both[speech, first[speech]] = True
    alone = both.copy()
    if len(speakers) > 1:
        double = frames.overlap & speech
        likeness[np.arange(len(first)), first] = -np.inf
        both[double, likeness.argmax(1)[double]] = True
    turns, names = named_by_appearance(_turns(frames, both, min_pause_seconds))
    single = [
        turn._replace(speaker=names[turn.speaker])
        for turn in _turns(frames, alone, min_pause_seconds)
        if turn.speaker in names
    ]
    embeddings = {
        names[str(i)]: [round(float(x), 6) for x in speakers[i]]
        for i in range(len(speakers))
        if str(i) in names
    }
    return Diarization(tuple(turns), tuple(_one_at_a_time(single)), dict(sorted(embeddings.items())))


def _likeness(heard: Heard, speakers: Vectors) -> tuple[Vectors, Mask]:
    """Return the mean likeness of each frame to each speaker, and for which frames any window tells it."""
    frames = heard.frames
    scores = np.zeros((len(frames.speech), len(speakers)), np.float32)
    weights = np.zeros(len(frames.speech), np.float32)
    for (start, end), voice in zip(heard.windows, heard.voices @ speakers.T, strict=True):
        first, last = frames.index(start), frames.index(end) + 1
        times = frames.first_seconds + np.arange(first, last) * frames.step_seconds
        bell = np.exp(-0.5 * ((times - (start + end) / 2) / _WIDTH) ** 2).astype(np.float32)
        scores[first:last] += bell[:, None] * voice
        weights[first:last] += bell
    return np.asarray(scores / np.maximum(weights, 1e-9)[:, None], np.float32), weights > 0


def _turns(frames: SpeechFrames, speaking: NDArray[np.bool_], min_pause_seconds: float) -> list[Turn]:
    turns: list[Turn] = []
    for speaker in range(speaking.shape[1]):
        own: list[Turn] = []
        for start, end in frames.spans(speaking[:, speaker]):
            if own and start - own[-1].end < min_pause_seconds:
                own[-1] = own[-1]._replace(end=end)
            else:
                own.append(Turn(start, end, str(speaker)))
        turns += [turn for turn in own if turn.duration >= _SHORTEST_SECONDS] or own
    return [turn._replace(start=round(turn.start, 3), end=round(turn.end, 3)) for turn in turns]


def _one_at_a_time(turns: Sequence[Turn]) -> list[Turn]:
    """Return turns that do not overlap: closing a speaker's pause may have swallowed another's word, which keeps its time."""
    ordered = sorted(turns)
    edges = sorted({edge for turn in ordered for edge in turn[:2]})
    pieces: list[Turn] = []
    open_turns: list[Turn] = []
    coming = iter([*ordered, None])
    following = next(coming)
    for start, end in pairwise(edges):
        while following is not None and following.start <= start:
            open_turns.append(following)
            following = next(coming)
        open_turns = [turn for turn in open_turns if turn.end > start]
        if not open_turns:
            continue
        speaker = min(open_turns, key=lambda turn: turn.duration).speaker
        if pieces and pieces[-1].speaker == speaker and pieces[-1].end == start:
            pieces[-1] = pieces[-1]._replace(end=end)
        else:
            pieces.append(Turn(start, end, speaker))
    return pieces
