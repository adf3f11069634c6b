"""Damaged subtitles mended: `python -m bench.quality.text_damage`.

Real files (../shared/media/subs in windows-1250 and -1251, the sonnet, the soft track of the MKV) are damaged in each way alone and
in all ways at once, and mended by the rules of `wservice.fix_subtitles`. A cue is invalid when players trip over it (order,
overlap, negative, without text or duration); a word is lost when the mended file has it less often than the sound one. Limits of
reading are counted on subtitles that are generated of the same texts, spoken at a common pace: what an author has timed too fast no
rule can give time to. Also: ten thousand cues of eight and of thirteen words generated and mended, in processor seconds.
Ends with `RESULT {...}`, and with status 1 when a gate is missed.
"""

from __future__ import annotations

import codecs
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from subtitles.cue import Cue, Word
from subtitles.fixes.repair import repair
from subtitles.measure import is_cjk, limits_for
from subtitles.readability import INVALID, count_kinds, find_violations
from subtitles.reading import parse_text, read_document
from subtitles.revision.edits import tokens
from subtitles.segmentation import segment
from subtitles.timing import settle
from subtitles.writing import to_srt

MEDIA = Path(__file__).resolve().parents[3] / "shared" / "media"
SPEED_SECONDS = 2.0
Damage = Callable[[list[Cue], random.Random], list[Cue]]


def _some(cues: list[Cue], dice: random.Random, change: Callable[[Cue], Cue]) -> list[Cue]:
    return [change(cue) if dice.random() < 0.1 else cue for cue in cues]


def overlaps(cues: list[Cue], dice: random.Random) -> list[Cue]:
    """Cues that stay while the next one is shown."""
    return _some(cues, dice, lambda cue: cue.at(cue.start, cue.end + 3))


def disorder(cues: list[Cue], dice: random.Random) -> list[Cue]:
    """Neighbours change places in the file."""
    made = list(cues)
    for place in range(0, len(made) - 1, 7):
        made[place], made[place + 1] = made[place + 1], made[place]
    return made


def negative(cues: list[Cue], dice: random.Random) -> list[Cue]:
    """The beginning lies before the film's."""
    late = cues[len(cues) // 4].start
    return [cue.at(cue.start - late, cue.end - late) for cue in cues]


def zero(cues: list[Cue], dice: random.Random) -> list[Cue]:
    """Cues that end when they begin, or before."""
    return _some(cues, dice, lambda cue: cue.at(cue.start, cue.start - dice.choice([0, 0, 0.5])))


def absurd(cues: list[Cue], dice: random.Random) -> list[Cue]:
    """Times a hundred hours away."""
    return _some(cues, dice, lambda cue: cue.at(cue.start + 360_000, cue.end + 360_000))


def endless(cues: list[Cue], dice: random.Random) -> list[Cue]:
    """Cues that stay for minutes."""
    return _some(cues, dice, lambda cue: cue.at(cue.start, cue.start + 400))


def doubles(cues: list[Cue], dice: random.Random) -> list[Cue]:
    """Cues that stand there twice."""
    return [one for cue in cues for one in ([cue, cue] if dice.random() < 0.1 else [cue])]


def empties(cues: list[Cue], dice: random.Random) -> list[Cue]:
    """Cues without text in between."""
    blank = [Cue(cue.end, cue.end + 0.01, "") for cue in cues[::9]]
    return sorted([*cues, *blank], key=lambda cue: cue.start)


def dirt(cues: list[Cue], dice: random.Random) -> list[Cue]:
    """Entities, control characters, doubled spaces, full-width digits."""
    wide = str.maketrans("0123456789", "０１２３４５６７８９")
    return _some(
        cues, dice, lambda cue: cue.saying(f"\u202a{cue.text.translate(wide).replace(' ', '  ')}&nbsp;\u200b")
    )


DAMAGES: dict[str, Damage] = {
    damage.__name__: damage
    for damage in (overlaps, disorder, negative, zero, absurd, endless, doubles, empties, dirt)
}


def mixed(cues: list[Cue], dice: random.Random) -> list[Cue]:
    """All of it."""
    for damage in DAMAGES.values():
        cues = damage(cues, dice)
    return cues


def sources(folder: Path) -> dict[str, list[Cue]]:
    """Return the sound files: what the rules leave of the real ones before any damage."""
    soft = folder / "soft.srt"
    film = MEDIA / "subs/sample_MKV_SRT.mkv"
    subprocess.run(["ffmpeg", "-v", "error", "-y", "-i", str(film), "-map", "0:s:0", str(soft)], check=True)
    paths = [*(MEDIA / "subs").glob("*.srt"), MEDIA / "asr/sonnet001.gt.srt", soft]
    return {path.name: repair(read_document(path).cues)[0] for path in paths}


def encodings(folder: Path, files: dict[str, list[Cue]]) -> int:
    """Return how many words are lost when each file comes in each encoding that can hold it and that its language is written in."""
    lost = 0
    for name, sound in files.items():
        text = to_srt(sound)
        # A code page of another alphabet holds a text as well when that is all ASCII, and nobody would write it so otherwise.
        for encoding in ("utf-8-sig", "utf-16", "utf-16-be", "cp1250", "cp1251", "cp1252"):
            try:
                raw = text.encode(encoding)
            except UnicodeEncodeError:
                continue
            file = folder / "encoded.srt"
            file.write_bytes(codecs.BOM_UTF16_BE + raw if encoding == "utf-16-be" else raw)
            missing = words_of(sound) - words_of(repair(read_document(file).cues)[0])
            lost += missing.total()
            if missing:
                print(f"  {name} in {encoding}: lost {dict(missing)}")
    return lost


def words_of(cues: list[Cue]) -> Counter[str]:
    """Return how often each word is there."""
    return Counter(word for cue in cues for word in tokens(cue.plain))


def broken(cues: list[Cue], kinds: frozenset[str], *, inside: bool) -> Counter[str]:
    """Return violations whose kind is among some, or is not."""
    texts = ["".join(cue.plain for cue in cues)]
    counts = count_kinds(find_violations(cues, limits_for(texts), cjk=is_cjk(texts[0])))
    return Counter({kind: count for kind, count in counts.items() if (kind in kinds) == inside})


def measure(folder: Path, files: dict[str, list[Cue]]) -> dict[str, float]:
    """Damage, mend, count."""
    invalid_kinds = frozenset(kind.value for kind in INVALID)
    invalid = lost = 0
    for name, sound in files.items():
        for damage in (*DAMAGES.values(), mixed):
            dice = random.Random(f"{name}/{damage.__name__}")
            file = folder / "damaged.srt"
            # Through a file, as they come; what no form can hold (negative times) stays as it is.
            cues = damage(sound, dice)
            if damage not in (negative, zero, mixed):
                file.write_text(to_srt(cues), encoding="utf-8")
                cues = read_document(file).cues
            mended = parse_text(to_srt(repair(cues)[0]))
            bad = broken(mended, invalid_kinds, inside=True)
            missing = words_of(sound) - words_of(mended)
            invalid += bad.total()
            lost += missing.total()
            if bad or missing:
                print(f"  {name}, {damage.__name__}: {dict(bad)}, lost {dict(missing)}")
    return {"invalid_cues": invalid, "words_lost": lost}


def read_by_all(files: dict[str, list[Cue]]) -> int:
    """Return how many limits of reading are broken by subtitles that are generated of speech at a speaker's pace."""
    count = 0
    for name, sound in files.items():
        words: list[Word] = []
        clock = 0.0
        for cue in sound:
            for word in cue.plain.split():
                length = 0.12 + 0.06 * len(word)
                words.append(Word(clock, clock + length, f" {word}", 0.9))
                clock += length + (0.5 if word[-1:] in ".!?" else 0.02)
        whole = [Cue(words[0].start, words[-1].end, "".join(word.text for word in words), words=tuple(words))]
        texts = ["".join(cue.plain for cue in sound)]
        limits, cjk = limits_for(texts), is_cjk(texts[0])
        made = settle(segment(whole, limits), limits, cjk=cjk)
        found = count_kinds(find_violations(made, limits, cjk=cjk))
        if found:
            print(f"  generated of {name}: {found} in {len(made)} cues")
        count += sum(found.values())
    return count


def speed(words_in_cue: int) -> float:
    """Return processor seconds for ten thousand cues: generated of words, written, read, mended."""
    spoken = "and so my fellow americans ask not what your country can do for you, ask what you can do."
    pattern = spoken.split()
    starts = [number * 0.38 + number // words_in_cue * 0.8 for number in range(10_000 * words_in_cue)]
    words = [
        Word(start, start + 0.33, f" {pattern[number % len(pattern)]}", 0.9)
        for number, start in enumerate(starts)
    ]
    segments = [
        Cue(
            words[start].start,
            words[start : start + 40][-1].end,
            "".join(word.text for word in words[start : start + 40]).strip(),
            words=tuple(words[start : start + 40]),
        )
        for start in range(0, len(words), 40)
    ]
    limits = limits_for(["a"])
    began = time.process_time()
    made = settle(segment(segments, limits), limits, cjk=False)
    generated = time.process_time() - began
    file = [replace(cue, words=()) for cue in made] * (1 + 10_000 // len(made))
    file = [cue.at(number * 3.0, number * 3.0 + 3.2) for number, cue in enumerate(file[:10_000])]
    began = time.process_time()
    to_srt(repair(parse_text(to_srt(file)))[0])
    mended = time.process_time() - began
    print(
        f"  {len(made)} cues of {words_in_cue} words generated in {generated:.2f} s, 10,000 mended in {mended:.2f} s"
    )
    return generated + mended


def main() -> int:
    """Measure, print, judge."""
    with tempfile.TemporaryDirectory() as name:
        files = sources(Path(name))
        figures = measure(Path(name), files)
        figures["words_lost"] += encodings(Path(name), files)
        figures["readability_violations"] = read_by_all(files)
    figures["generate_and_fix_10000_cues_s"] = round(max(speed(8), speed(13)), 2)
    print("RESULT " + json.dumps(figures))
    missed = [name for name in ("invalid_cues", "words_lost", "readability_violations") if figures[name]]
    return 1 if missed or figures["generate_and_fix_10000_cues_s"] > SPEED_SECONDS else 0


if __name__ == "__main__":
    sys.exit(main())
