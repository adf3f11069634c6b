"""Which language is spoken where: found out for each group of speech, and only believed when the group is long or sure enough."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from services.asr.recognizer import Recognizer
from services.asr.sound import Sound
from services.asr.windows import Piece, Window, pack

GROUP_SECONDS = 12.0
_LEAST_FILL = 0.5
"""A pause in the later half ends a group: another language begins behind one, more often than not."""
_SURE = 0.6
_SHORT_SECONDS = 1.0
"""A group with less speech than this says nothing of its language: `okay` is said in all of them."""
_FLICKER = 0.9
"""A single group between two of one other language must be this sure of its own."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """Speech in one language."""

    group: Window
    language: str
    probability: float

    @property
    def certain(self) -> bool:
        """Whether it can be believed without its neighbours."""
        return self.probability >= _SURE and self.group.speech_seconds >= _SHORT_SECONDS


def spoken_groups(
    pieces: Iterable[Piece], recognizer: Recognizer, sound: Sound, channel: int
) -> Iterator[Spoken]:
    """Give groups of at most 12 s with their languages; each is given once the next one is known."""
    before: Spoken | None = None
    held: list[Spoken] = []
    for group in pack(pieces, GROUP_SECONDS, _LEAST_FILL):
        language, probability = recognizer.guess_language(group.read(sound, channel))
        spoken = Spoken(group, language, probability)
        if spoken.certain:
            for each in held:
                settled = _settled(each, before, spoken)
                yield settled
                before = settled
            held = [spoken]
        else:
            held.append(spoken)
    for each in held:
        settled = _settled(each, before, None)
        yield settled
        before = settled


def _settled(spoken: Spoken, before: Spoken | None, after: Spoken | None) -> Spoken:
    """Return a group with the language that its neighbours make likely."""
    if not spoken.certain:
        source = before or after
        return replace(spoken, language=source.language) if source is not None else spoken
    alone = before is not None and after is not None and before.language == after.language != spoken.language
    if alone and spoken.probability < _FLICKER:
        assert before is not None
        return replace(spoken, language=before.language)
    return spoken


def windows_by_language(spoken: Iterable[Spoken], limit_seconds: float) -> Iterator[tuple[str, Window]]:
    """Give windows, each of one language, as full as may be."""
    language, pieces = "", list[Piece]()
    for each in spoken:
        if pieces and each.language != language:
            yield from ((language, window) for window in pack(pieces, limit_seconds))
            pieces = []
        language = each.language
        pieces += each.group.pieces
        if sum(piece.seconds for piece in pieces) > 2 * limit_seconds:
            *full, last = pack(pieces, limit_seconds)
            yield from ((language, window) for window in full)
            pieces = list(last.pieces)
    if pieces:
        yield from ((language, window) for window in pack(pieces, limit_seconds))
