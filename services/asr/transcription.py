"""The way from sound to segments: speech, languages, windows, batches, words on the clock, what is believed of them.

Everything is lazy: the first segments are given before the rest of the recording was looked at, and nothing is kept of what was
given, so that memory does not grow with length.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import chain, islice
from typing import Any

from services.asr import beliefs
from services.asr.faults import FaultCode, SpeechFault
from services.asr.languages import Spoken, spoken_groups, windows_by_language
from services.asr.options import Options, VadRules
from services.asr.recognizer import HeardWindow, Recognizer
from services.asr.second_hearing import best_readings
from services.asr.segments import Token, coverage, cut, on_clock
from services.asr.sound import Sound
from services.asr.transcript import NOTHING, Heard, Segment
from services.asr.voice_activity import Speech, find_speech
from services.asr.windows import Piece, Window, pack, pad

_LATEST_CONTEXT_CHARACTERS = 600
_FIRST_BATCHES = (1, 2, 4)
"""The first batches are small, so that watchers see the first words soon: so many windows for each that is heard side by side."""
_WEAK_TRANSLATION = frozenset({"zh", "yue", "ja", "ko"})


def transcribe(
    recognizer: Recognizer, sound: Sound, options: Options, resume: Mapping[int, float] | None = None
) -> Iterator[Heard]:
    """Give what is heard, stretch by stretch, one channel after the other; `resume` says where in each channel to go on.

    Raises:
        SpeechFault: LANGUAGE_UNSUPPORTED, TRANSLATION_UNSUPPORTED, RANGE_OUTSIDE_MEDIA.
    """
    check(recognizer, options)
    clips = options.clips or ((0.0, sound.seconds),)
    if options.clips and clips[0][0] >= sound.seconds > 0:
        message = f"the first clip begins at {clips[0][0]:g} s, the recording has {sound.seconds:.3f} s"
        raise SpeechFault(FaultCode.RANGE_OUTSIDE_MEDIA, message, "/clip_timestamps")
    for channel in range(sound.channels):
        since = (resume or {}).get(channel, 0.0)
        pieces = chain.from_iterable(
            _pieces(recognizer, sound, max(start, since), min(end, sound.seconds), options, channel)
            for start, end in clips
            if end > since
        )
        windows = _windows(recognizer, sound, pieces, options, channel)
        yield from _hear_all(recognizer, sound, windows, options, channel)
        yield Heard(channel, sound.seconds, ())


def check(recognizer: Recognizer, options: Options) -> None:
    """Refuse what the model cannot do. Raises SpeechFault."""
    name, language = f"{recognizer.engine} {recognizer.model}", options.language
    if language is not None and language not in recognizer.languages:
        raise SpeechFault(
            FaultCode.LANGUAGE_UNSUPPORTED, f"{name} does not know the language {language!r}", "/language"
        )
    if options.decode.task != "translate":
        return
    if recognizer.languages <= {"en"}:
        raise SpeechFault(FaultCode.TRANSLATION_UNSUPPORTED, f"{name} knows English only", "/task")
    if language is not None and translates_poorly(recognizer.model, language):
        message = f"{name} translates {language!r} too poorly; a large model does it"
        raise SpeechFault(FaultCode.TRANSLATION_UNSUPPORTED, message, "/task")


def translates_poorly(model: str, language: str) -> bool:
    """Whether a model's translation from a language is not fit for use: that of small models from East Asian languages."""
    small = any(size in model.lower() for size in ("tiny", "base", "small"))
    return small and language in _WEAK_TRANSLATION


def _pieces(
    recognizer: Recognizer, sound: Sound, start: float, end: float, options: Options, channel: int
) -> Iterator[Piece]:
    if end <= start:
        return iter(())
    rules = options.vad
    longest = recognizer.window_seconds - 2 * rules.pad_seconds - 0.1
    if not options.vad_filter:
        return _everything(sound, start, end, longest, channel)
    bounded = replace(rules, max_speech_seconds=min(rules.max_speech_seconds, longest))
    return pad(find_speech(sound, start, end, bounded, channel), rules.pad_seconds, start, end)


def _everything(sound: Sound, start: float, end: float, longest: float, channel: int) -> Iterator[Piece]:
    """Give a stretch as it is, cut where the detector is least sure of speech."""
    whole = VadRules(threshold=0.0, neg_threshold=0.0, max_speech_seconds=longest)
    edge = start
    for speech in find_speech(sound, start, end, whole, channel):
        yield Piece(edge, speech.end, Speech(edge, speech.end))
        edge = speech.end


def _windows(
    recognizer: Recognizer, sound: Sound, pieces: Iterable[Piece], options: Options, channel: int
) -> Iterator[tuple[str, Window]]:
    limit = recognizer.window_seconds
    if options.language is not None or len(recognizer.languages) == 1:
        language = options.language or next(iter(recognizer.languages))
        return ((language, window) for window in pack(pieces, limit))
    spoken = spoken_groups(pieces, recognizer, sound, channel)
    return windows_by_language(spoken if options.multilingual else _of_one(spoken), limit)


def _of_one(spoken: Iterator[Spoken]) -> Iterator[Spoken]:
    """Give all groups the language of the first that is sure of its own, of the first eight at most."""
    first = list(islice(spoken, 8))
    language = max(first, key=lambda each: (each.certain, each.probability)).language if first else ""
    for each in chain(first, spoken):
        yield replace(each, language=language)


def _batches(
    windows: Iterable[tuple[str, Window]], largest: int, side_by_side: int
) -> Iterator[tuple[str, list[Window]]]:
    """Give windows in batches of one language each; the first ones are small."""
    first = (min(size * side_by_side, largest) for size in _FIRST_BATCHES)
    sizes = chain(first, iter(lambda: largest, -1))
    size, batch, spoken = next(sizes), list[Window](), ""
    for language, window in windows:
        if batch and (language != spoken or len(batch) >= size):
            yield spoken, batch
            batch, size = [], next(sizes)
        spoken = language
        batch.append(window)
    if batch:
        yield spoken, batch


def _hear_all(
    recognizer: Recognizer,
    sound: Sound,
    windows: Iterator[tuple[str, Window]],
    options: Options,
    channel: int,
) -> Iterator[Heard]:
    context = ""
    decode = options.decode
    largest = 1 if decode.condition_on_previous_text else decode.batch_size
    for language, batch in _batches(windows, largest, recognizer.side_by_side):
        samples = [window.read(sound, channel) for window in batch]
        readings = recognizer.hear(samples, language, decode, context)
        if notices_losses(options):
            pairs = list(zip(batch, samples, strict=True))
            readings = best_readings(recognizer, sound, channel, pairs, readings, language, decode, context)
        for window, heard in zip(batch, readings, strict=True):
            believed = _believed(heard, window, language, sound, options, channel)
            yield believed
            if decode.condition_on_previous_text and heard.decoding.temperature <= 0.5:
                spoken = "".join(segment.text + " " for segment in believed.segments)
                context = f"{context} {spoken}"[-_LATEST_CONTEXT_CHARACTERS:]


def notices_losses(options: Options) -> bool:
    """Whether speech with too few words can be told: where it was found, and what is written down is what was said."""
    return options.vad_filter and options.decode.task == "transcribe"


def _believed(
    heard: HeardWindow, window: Window, language: str, sound: Sound, options: Options, channel: int
) -> Heard:
    """Return a window's segments without what nobody has said."""
    dropped = 0
    tokens: list[Token] = []
    if beliefs.is_silence(heard.decoding, options.decode):
        dropped = len(heard.words)
    else:
        tokens = on_clock(heard, window)
        loops = set(beliefs.loop_places([token.word.text for token in tokens]))
        kept = [token for number, token in enumerate(tokens) if number not in loops]
        if not options.vad_filter and options.hallucination_silence_seconds is not None:
            kept = _outside_silence(kept, window, sound, options, channel)
        dropped, tokens = len(tokens) - len(kept), kept
    segments: list[Segment] = []
    for segment in cut(tokens, heard, language):
        if beliefs.is_sign_off(segment.text, segment.decoding):
            dropped += len(segment.words)
        else:
            segments.append(_in_script(segment, options.chinese))
    apart = channel if sound.channels > 1 else None
    covered = coverage(window, segments, notices_losses(options)) if options.vad_filter else NOTHING
    return Heard(channel, window.end, tuple(each.on(apart) for each in segments), covered, dropped)


def _outside_silence(
    tokens: Sequence[Token], window: Window, sound: Sound, options: Options, channel: int
) -> list[Token]:
    """Return the words that do not lie in a silence longer than the limit, by the detector that was not asked to filter."""
    limit = options.hallucination_silence_seconds or 0.0
    speech = list(find_speech(sound, window.start, window.end, options.vad, channel))
    edges = [window.start, *chain.from_iterable((each.start, each.end) for each in speech), window.end]
    silences = [
        (start, end) for start, end in zip(edges[::2], edges[1::2], strict=True) if end - start > limit
    ]
    middles = ((token, (token.word.start + token.word.end) / 2) for token in tokens)
    return [token for token, middle in middles if not any(start < middle < end for start, end in silences)]


def _in_script(segment: Segment, script: str) -> Segment:
    """Return Chinese in the script that was asked for: Whisper mixes both."""
    if segment.language not in ("zh", "yue") or script == "as_heard":
        return segment
    convert = _converter("t2s" if script == "simplified" else "s2t").convert
    text = convert(segment.text)
    # Converted as a whole, since context decides; letters are one for one, so that words can be cut from it again.
    whole = convert("".join(word.text for word in segment.words))
    lengths = [len(word.text) for word in segment.words]
    if len(whole) != sum(lengths):
        return replace(
            segment,
            text=text,
            words=tuple(replace(word, text=convert(word.text)) for word in segment.words),
        )
    words, at = [], 0
    for word, length in zip(segment.words, lengths, strict=True):
        words.append(replace(word, text=whole[at : at + length]))
        at += length
    return replace(segment, text=text, words=tuple(words))


@lru_cache(maxsize=2)
def _converter(name: str) -> Any:
    import opencc

    return opencc.OpenCC(name)
