"""A task's text, cut into sentences, each with its voice and the silence behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from services.tts import casting
from services.tts.faults import FaultCode, TtsFault
from services.tts.inputs import GenerateSpeechInput
from services.tts.settings import tts_settings
from services.tts.speaking import Sentence
from services.tts.text.runs import clean, is_speakable, sentences, tell_language


@dataclass
class Passage:
    """Sentences in a row by one voice."""

    part: casting.Part
    sentences: list[Sentence] = field(default_factory=list)


def cut(request: GenerateSpeechInput, reference: Path | None, emotion: Mapping[str, Any]) -> list[Passage]:
    """Cut a task's text into sentences and give each its voice. Raises TtsFault, and ModelMissing for the weights of a voice.

    It reads the model store's folders and works through the whole text: not for an event loop.
    """
    pieces = _pieces(request)
    language = request.language or tell_language("".join(text for text, _, _ in pieces))

    @cache
    def part(voice: str) -> casting.Part:
        return casting.choose(
            engine=request.engine,
            voice=voice,
            language=language,
            reference=reference,
            prompt_text=request.prompt_text,
            settings=tts_settings(),
            seed=request.seed,
            emotion=emotion,
        )

    passages: list[Passage] = []
    for text, voice, pause in pieces:
        if not passages or passages[-1].part.cast != part(voice).cast:
            passages.append(Passage(part(voice)))
        found = list(sentences(text))
        for number, (sentence, ends) in enumerate(found, 1):
            after = request.paragraph_pause if ends else request.silence_between
            if number == len(found) and pause is not None:
                after = pause
            passages[-1].sentences.append(Sentence(sentence, after))
    passages = [passage for passage in passages if passage.sentences]
    last = passages[-1].sentences[-1]
    passages[-1].sentences[-1] = Sentence(last.text, 0.0)
    return passages


def _pieces(request: GenerateSpeechInput) -> list[tuple[str, str, float | None]]:
    """Return the cleaned text, the voice and the pause behind each piece. Raises TtsFault for nothing, or too much, to speak."""
    pieces = [(one.text, one.voice or request.voice, one.pause_after) for one in request.segments]
    pieces = pieces or [(request.text, request.voice, None)]
    cleaned = [(clean(text), voice, pause) for text, voice, pause in pieces]
    whole = "".join(text for text, _, _ in cleaned)
    if not is_speakable(whole):
        raise TtsFault(FaultCode.INVALID_INPUT, "the text has nothing that can be spoken", "/text")
    most = tts_settings().max_characters
    if len(whole) > most:
        message = f"the text has {len(whole)} characters; at most {most} are spoken at once"
        raise TtsFault(FaultCode.INVALID_INPUT, message, "/text")
    return cleaned
