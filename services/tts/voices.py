"""The voices that are built in, by language. A name says who: z Chinese, a American, b British, j Japanese …, f or m; then a
name.
"""

from __future__ import annotations

from dataclasses import dataclass

from services.tts.faults import FaultCode, TtsFault

_LANGUAGES = {"a": "en", "b": "en", "z": "zh", "e": "es", "f": "fr", "i": "it", "j": "ja", "p": "pt"}
_NAMES = {
    "a": "f_alloy f_aoede f_bella f_heart f_jessica f_kore f_nicole f_nova f_river f_sarah f_sky m_adam m_echo m_eric "
    "m_fenrir m_liam m_michael m_onyx m_puck m_santa",
    "b": "f_alice f_emma f_isabella f_lily m_daniel m_fable m_george m_lewis",
    "z": "f_xiaobei f_xiaoni f_xiaoxiao f_xiaoyi m_yunjian m_yunxi m_yunxia m_yunyang",
    "e": "f_dora m_alex m_santa",
    "f": "f_siwis",
    "i": "f_sara m_nicola",
    "j": "f_alpha f_gongitsune f_nezumi f_tebukuro m_kumo",
    "p": "f_dora m_alex m_santa",
}
_LOCALES = {
    "a": "en-US", "b": "en-GB", "z": "zh-CN", "e": "es-ES", "f": "fr-FR", "i": "it-IT", "j": "ja-JP", "p": "pt-BR"
}  # fmt: skip
ESPEAK_VOICES = {"es": "es", "fr": "fr-fr", "it": "it", "pt": "pt-br"}
"""Languages whose pronunciation comes from the program espeak-ng."""


@dataclass(frozen=True)
class Voice:
    """One voice."""

    name: str
    engine: str
    """`kokoro` or `hibari`."""
    language: str
    locale: str
    gender: str


def _all() -> dict[str, Voice]:
    voices = {"heart": Voice("heart", "hibari", "en", "en-US", "female")}
    for letter, names in _NAMES.items():
        for rest in names.split():
            gender = "female" if rest[0] == "f" else "male"
            name = f"{letter}{rest}"
            voices[name] = Voice(name, "kokoro", _LANGUAGES[letter], _LOCALES[letter], gender)
    return voices


VOICES = _all()
PRESETS = {"default": "zf_xiaoxiao", "male_01": "zm_yunxi", "female_01": "zf_xiaoxiao"}
"""The origin's preset names, and who speaks for them."""
_FIRST = {"es": "ef_dora", "fr": "ff_siwis", "it": "if_sara", "ja": "jf_alpha", "pt": "pf_dora"}


def find_voice(name: str, language: str, *, zh: str, en: str) -> Voice:
    """Return the voice of a name, or the default one of a language. Raises TtsFault."""
    if name:
        found = VOICES.get(PRESETS.get(name, name))
        if found is None:
            raise TtsFault(
                FaultCode.VOICE_UNKNOWN,
                f"no voice is called {name!r}; indextts.list_voice_presets names them",
                "/voice",
            )
        return found
    default = {"zh": zh, "en": en, **_FIRST}.get(language)
    if default is None:
        known = ", ".join(["zh", "en", *_FIRST])
        raise TtsFault(
            FaultCode.LANGUAGE_UNSUPPORTED,
            f"no voice here speaks {language!r}; {known} are spoken",
            "/language",
        )
    return find_voice(default, language, zh=zh, en=en)
