"""A voice for each speaker of a film."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from services.tts import casting
from services.tts.settings import TtsSection
from services.tts.voices import VOICES

_FAVOURITES = {
    "en": ("af_heart", "am_michael", "bf_emma", "bm_george", "af_bella", "am_fenrir", "af_nicole", "am_puck"),
    "zh": ("zf_xiaoxiao", "zm_yunxi", "zf_xiaoyi", "zm_yunjian", "zf_xiaobei", "zm_yunyang"),
}
"""Voices that are well apart, a woman's and a man's in turn; a language's other voices come behind these."""


def cast_speakers(
    speakers: Sequence[str],
    given: Mapping[str, str],
    *,
    engine: str,
    language: str,
    settings: TtsSection,
    seed: int,
) -> dict[str, casting.Part]:
    """Return who speaks for each speaker, in their order. Raises TtsFault, and ModelMissing for a named voice's weights.

    Nobody gets a voice that another has, while the language has one that nobody has.
    """

    def part(voice: str) -> casting.Part:
        return casting.choose(
            engine=engine,
            voice=voice,
            language=language,
            reference=None,
            prompt_text="",
            settings=settings,
            seed=seed,
        )

    found = {speaker: part(given[speaker]) for speaker in speakers if given.get(speaker)}
    taken = {one.cast.voice for one in found.values()}
    left = [name for name in _choices(engine, language) if name not in taken]
    for speaker in speakers:
        if speaker in found:
            continue
        # One speaker alone has the language's own voice, which may be a faster engine's.
        voice = left.pop(0) if left and len(speakers) > 1 else ""
        found[speaker] = part(voice)
    return {speaker: found[speaker] for speaker in speakers}


def _choices(engine: str, language: str) -> list[str]:
    if engine == "flite":
        return list(casting.FLITE_VOICES) if language == "en" else []
    if engine not in ("auto", "kokoro") or not casting.has_kokoro():
        return []
    names = [name for name, voice in VOICES.items() if (voice.engine, voice.language) == ("kokoro", language)]
    favourites = [name for name in _FAVOURITES.get(language, ()) if name in names]
    return [*favourites, *(name for name in names if name not in favourites)]
