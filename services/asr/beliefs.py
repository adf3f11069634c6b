"""What of a heard text is believed: Whisper says farewells on silence, and repeats itself where it loses the thread."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence

from services.asr.options import Decode
from services.asr.transcript import Decoding

MAX_CHARACTERS_PER_SECOND = 25.0
"""Nobody speaks faster; a text that would is a loop or comes from nowhere."""
_MIN_REPEATS = 4
_LONGEST_PHRASE = 12
_SIGN_OFF_NO_SPEECH = 0.3
"""From this probability of no speech on, a farewell is taken for one of those that Whisper has learnt from subtitles."""
_SIGN_OFFS = re.compile(
    r"(?:thank(?:s| you)(?: so much| very much)?(?: for (?:watching|listening|your attention))"
    r"|(?:please )?(?:like and )?subscribe(?: to (?:my|our|the) channel)?|see you (?:in the )?next (?:time|video)"
    r"|subtitles by the amara(?:\.?org| org) community|(?:transcription|subtitles|captions) by .{1,40}"
    r"|untertitel (?:der|von|im auftrag).{0,60}|vielen dank f[uü]rs zuschauen|copyright .{0,30}"
    r"|sous-?titr(?:es|age) .{0,60}|merci d'avoir regard[eé].{0,20}|subt[ií]tulos .{0,50}|gracias por ver.{0,20}"
    r"|字幕.{0,24}|谢谢(?:大家)?(?:观看|收看|收听).{0,8}|謝謝(?:大家)?(?:觀看|收看|收聽).{0,8}"
    r"|(?:请|請)?不吝(?:点赞|點贊|點讚).{0,40}|.{0,12}(?:订阅|訂閱).{0,30}"
    r"|ご(?:視聴|清聴)(?:いただき)?ありがとうございま(?:した|す)|시청해\s?주셔서 감사합니다)"
)
_PUNCTUATION = re.compile(r"[\s.,!?…。、!?,·・♪\"'“”()\[\]-]+")


def compression_ratio(text: str) -> float:
    """Return how many times smaller a text can be packed: above 2.4 it repeats itself (Whisper's own measure)."""
    body = text.encode()
    return len(body) / len(zlib.compress(body)) if body else 1.0


def needs_retry(text: str, speech_seconds: float, decoding: Decoding, decode: Decode) -> bool:
    """Whether a window is to be heard again by sampling: it repeats itself, is unsure, or too fast; silence is not."""
    if is_silence(decoding, decode):
        return False
    ratio, logprob = decode.compression_ratio_threshold, decode.log_prob_threshold
    return (
        (ratio is not None and decoding.compression_ratio > ratio)
        or (logprob is not None and decoding.avg_logprob < logprob)
        or is_too_fast(text, speech_seconds)
    )


def is_too_fast(text: str, speech_seconds: float) -> bool:
    """Whether nobody can say so much in that time."""
    return len(text) > MAX_CHARACTERS_PER_SECOND * max(speech_seconds, 0.4)


def is_silence(decoding: Decoding, decode: Decode) -> bool:
    """Whether the recogniser itself says that there is no speech, and is unsure of what it wrote all the same."""
    return (
        decode.no_speech_threshold is not None
        and decoding.no_speech_prob > decode.no_speech_threshold
        and (decode.log_prob_threshold is None or decoding.avg_logprob < decode.log_prob_threshold)
    )


def is_sign_off(text: str, decoding: Decoding) -> bool:
    """Whether a segment is a farewell or credit that subtitles end with, heard where there hardly is speech."""
    if decoding.no_speech_prob < _SIGN_OFF_NO_SPEECH:
        return False
    bare = _PUNCTUATION.sub(" ", text.casefold()).strip()
    return bool(_SIGN_OFFS.fullmatch(bare) or _SIGN_OFFS.fullmatch(bare.replace(" ", "")))


def loop_places(words: Sequence[str]) -> list[int]:
    """Return the places of words that only repeat.

    Where a phrase of up to 12 words is said four times or more in a row, these are all its words but the first time's.
    """
    keys = [_PUNCTUATION.sub("", word).casefold() for word in words]
    places: list[int] = []
    at = 0
    while at < len(keys):
        length, repeats = _longest_loop(keys, at)
        if repeats >= _MIN_REPEATS:
            places += range(at + length, at + length * repeats)
        at += length * repeats if repeats >= _MIN_REPEATS else 1
    return places


def _longest_loop(keys: Sequence[str], at: int) -> tuple[int, int]:
    for length in range(1, _LONGEST_PHRASE + 1):
        phrase, repeats = keys[at : at + length], 1
        while phrase == keys[at + length * repeats : at + length * (repeats + 1)] and len(phrase) == length:
            repeats += 1
        if repeats >= _MIN_REPEATS:
            return length, repeats
    return 1, 1
