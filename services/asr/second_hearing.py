"""Second hearing: windows in which speech was lost are heard in other ways, and the better reading counts.

First the whole window with another beam, then, where speech is still lost, its two halves on both sides of the pause at the loss. A
reading counts instead of the first when it loses less and the model is at least as sure of it, by the mean logarithm of the
probability: what fills a gap by invention is less sure than what it replaces. Nothing is sampled here, so that a window costs
three searches at most.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from services.asr import beliefs
from services.asr.losses import losses
from services.asr.options import Decode
from services.asr.recognizer import HeardWindow, Recognizer
from services.asr.segments import on_clock
from services.asr.sound import Samples, Sound
from services.asr.transcript import UNKNOWN, Decoding
from services.asr.windows import Window

_WIDE_BEAM = 5


def best_readings(
    recognizer: Recognizer,
    sound: Sound,
    channel: int,
    batch: Sequence[tuple[Window, Samples]],
    readings: Sequence[HeardWindow],
    language: str,
    decode: Decode,
    context: str = "",
) -> list[HeardWindow]:
    """Return the reading of each window that loses least."""
    best, searched = list(readings), replace(decode, temperatures=(0.0,))
    doubtful = [place for place, (window, _) in enumerate(batch) if _is_doubtful(window, best[place], decode)]
    if doubtful:
        other = replace(searched, beam_size=_WIDE_BEAM if decode.beam_size == 1 else 1)
        again = recognizer.hear([batch[place][1] for place in doubtful], language, other, context)
        for place, reading in zip(doubtful, again, strict=True):
            best[place] = _better(batch[place][0], best[place], reading, decode)
    halves = {
        place: _halves(batch[place][0], best[place])
        for place in doubtful
        if _is_doubtful(batch[place][0], best[place], decode)
    }
    parts = [half for both in halves.values() for half in both]
    if parts:
        heard = recognizer.hear([part.read(sound, channel) for part in parts], language, searched, context)
        told = iter(zip(parts, heard, strict=True))
        for place, both in halves.items():
            if both:
                (first, before), (_, after) = next(told), next(told)
                joined = _joined(before, after, first.seconds)
                best[place] = _better(batch[place][0], best[place], joined, decode)
    return best


def lost_seconds(window: Window, heard: HeardWindow) -> float:
    """Return by how much the losses of a reading are too long, in all."""
    words = [token.word for token in on_clock(heard, window)]
    return sum(excess for _, _, excess in losses(window, words))


def _is_doubtful(window: Window, heard: HeardWindow, decode: Decode) -> bool:
    """Whether to hear a window again: not what the engine takes for silence, nor where it does not say how sure it is."""
    if heard.decoding == UNKNOWN or beliefs.is_silence(heard.decoding, decode):
        return False
    return lost_seconds(window, heard) > 0


def _better(window: Window, first: HeardWindow, second: HeardWindow, decode: Decode) -> HeardWindow:
    ratio = decode.compression_ratio_threshold
    loops = ratio is not None and second.decoding.compression_ratio > ratio
    sure = second.decoding.avg_logprob >= first.decoding.avg_logprob
    return (
        second if sure and not loops and lost_seconds(window, second) < lost_seconds(window, first) else first
    )


def _halves(window: Window, heard: HeardWindow) -> tuple[Window, ...]:
    """Return the window cut at the pause before the worst loss, behind it where it comes first; () where there is no pause."""
    words = [token.word for token in on_clock(heard, window)]
    start = max(losses(window, words), key=lambda loss: loss[2])[0]
    number = max(place for place, piece in enumerate(window.pieces) if piece.start <= start or place == 0)
    cut = number or 1
    return (Window(window.pieces[:cut]), Window(window.pieces[cut:])) if len(window.pieces) > 1 else ()


def _joined(before: HeardWindow, after: HeardWindow, seconds: float) -> HeardWindow:
    """Return the readings of two halves as one; the second begins after so many seconds."""
    shifted = tuple(replace(word, start=word.start + seconds, end=word.end + seconds) for word in after.words)
    shares = [max(1, sum(len(tokens) for tokens in half.tokens)) for half in (before, after)]
    sure = [half.decoding.avg_logprob * share for half, share in zip((before, after), shares, strict=True)]
    words = before.words + shifted
    decoding = Decoding(
        avg_logprob=sum(sure) / sum(shares),
        no_speech_prob=max(before.decoding.no_speech_prob, after.decoding.no_speech_prob),
        compression_ratio=beliefs.compression_ratio("".join(word.text for word in words)),
        temperature=max(before.decoding.temperature, after.decoding.temperature),
    )
    return HeardWindow(words, decoding, before.tokens + after.tokens)
