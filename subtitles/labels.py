"""Who speaks, where a text begins with a name in brackets: `[SPEAKER_00] Hello`, and not `[Music]` or `[door slams] Hello`.

Subtitles for the hard of hearing put sounds into the same brackets. Labels that machines give are speakers wherever they stand.
Other names count only when every cue of a file begins with one, as files with speakers do and those with sounds do not.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from subtitles.cue import Cue

_LABEL = re.compile(r"^\s*\[([A-Za-z][\w .'-]{0,63})\]\s*")
_OF_MACHINES = re.compile(r"(?:speaker|spk|unknown|channel|person|voice)[ _-]?\w{0,8}$", re.IGNORECASE)


def split_label(text: str) -> tuple[str | None, str]:
    """Return the label that a machine has given and the words behind it; (None, text) where there is none."""
    label, words = _split(text)
    return (label, words) if label and _OF_MACHINES.match(label) else (None, text)


def name_speakers(cues: Sequence[Cue]) -> list[Cue]:
    """Return the cues with the speakers that their texts name, and the texts without these names."""
    named = [_split(cue.text) for cue in cues]
    all_are = all(label and label[0].isupper() and words for label, words in named)
    found = []
    for cue, (label, words) in zip(cues, named, strict=True):
        is_speaker = label and cue.speaker is None and (all_are or _OF_MACHINES.match(label))
        found.append(replace(cue, speaker=label, text=words) if is_speaker else cue)
    return found


def _split(text: str) -> tuple[str | None, str]:
    match = _LABEL.match(text)
    return (match[1].strip(), text[match.end() :].strip()) if match else (None, text)
