"""What rules alone do to transcripts and to what scanners made of texts: `python -m bench.quality.text_rules`.

Transcripts: every recording of ../shared/media/asr whose text is known, as `faster_whisper.transcribe_audio` hears it, corrected by
`wservice.correct_subtitles` without a model; word error rate before and after, which must not be worse on any recording. Left out
where the model is not here. Scans: the English texts and the README of this project with the faults that scanners make put in, by a
dice of fixed seed. No rule was chosen on these texts. Ends with `RESULT {...}`, and with status 1 when a rule made anything worse.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import sys
import tempfile
from pathlib import Path

from bench.quality.asr import KENNEDY, MEDIA, WIZARD, hear, text_of
from nodekit.models import model_store
from nodekit.testkit import NodeUnderTest
from services.asr.node import node as hearing_node
from services.subtitle.node import node
from subtitles.cue import Cue
from subtitles.reading import parse_text, read_document
from subtitles.score import word_score
from subtitles.writing import to_srt

_SCANNED = (
    ("m", "rn"),
    ("h", "li"),
    ("w", "vv"),
    ("d", "cl"),
    ("l", "I"),
    ("o", "0"),
    ("l", "1"),
    ("e", "c"),
    ("b", "h"),
)


def recordings() -> dict[str, str]:
    """Return the English recordings and what is said in them."""
    sonnet = read_document(MEDIA / "asr/sonnet001.gt.srt").cues
    return {
        "jfk.flac": KENNEDY,
        "librispeech_61-70968-0000.flac": WIZARD,
        "sonnet001.mp3": " ".join(cue.plain for cue in sonnet),
    }


def others() -> dict[str, tuple[str, str]]:
    """Return the other recordings, the language of each and what is said in it: a wide character counts as a word."""
    japanese = "common_voice_ja_24511055"
    return {
        "chinese.wav": ("zh", "砸自己的脚"),
        f"{japanese}.mp3": ("ja", (MEDIA / f"asr/{japanese}.txt").read_text(encoding="utf-8").strip()),
    }


def scanned(text: str, dice: random.Random) -> str:
    """Return a text as a poor scanner reads it: a fault in about one word of eight, and lost spaces."""
    words = []
    for word in text.split():
        possible = [pair for pair in _SCANNED if pair[0] in word[1:]]
        if possible and dice.random() < 0.15:
            words.append(word[0] + word[1:].replace(*dice.choice(possible), 1))
        else:
            words.append(word)
    joined = " ".join(words)
    return re.sub(
        r"\b(in|of|to|on|is) (the|a|be|it)\b",
        lambda pair: pair[0] if dice.random() > 0.2 else pair[1] + pair[2],
        joined,
    )


async def corrected(
    under_test: NodeUnderTest, cues: list[Cue], name: str, folder: Path, language: str = "en"
) -> str:
    """Return a transcript's text after the rules."""
    source = folder / f"{name}.srt"
    source.write_text(to_srt(cues), encoding="utf-8")
    wanted = {
        "subtitle_path": str(source),
        "language": language,
        "subtitle_correction": {"enabled": True, "provider": "rules"},
    }
    result = await under_test.run("wservice.correct_subtitles", wanted, task_id=name)
    if result.outcome != "completed":
        raise SystemExit(f"{name}: {result.error.code} {result.error.message}")
    mended = parse_text(result.file("corrected_subtitle_path").read_text(encoding="utf-8"))
    return " ".join(cue.plain for cue in mended)


def cues_of(text: str) -> list[Cue]:
    """Return a text as cues of eight words."""
    words = text.split()
    return [Cue(start, start + 3.0, " ".join(words[start : start + 8])) for start in range(0, len(words), 8)]


class Rates:
    """Errors and lengths before and after, summed up."""

    def __init__(self) -> None:
        self.length = self.before = self.after = self.worse = 0

    def add(self, truth: str, before: str, after: str, name: str) -> None:
        """Count one text."""
        was, now = word_score(truth, before), word_score(truth, after)
        self.length += was.length
        self.before += was.edits
        self.after += now.edits
        self.worse += now.edits > was.edits
        print(f"  {name}: WER {was.rate:.4f}, after rules {now.rate:.4f}")

    def figures(self, prefix: str) -> dict[str, float]:
        """Return the rates by name."""
        length = max(1, self.length)
        return {
            f"{prefix}_wer_before": round(self.before / length, 4),
            f"{prefix}_wer_after_rules": round(self.after / length, 4),
            f"{prefix}_worse_after_rules": self.worse,
        }


async def measure(folder: Path) -> dict[str, float]:
    """Return every figure."""
    scans, heard = Rates(), Rates()
    readme = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")
    prose = " ".join(re.findall(r"^[A-Z][^|`#<>{}]{60,}$", readme, re.MULTILINE))
    texts = {**recordings(), "README.md": prose}
    async with NodeUnderTest(node, folder / "subtitle", allowed_roots=(folder,)) as under_test:
        for name, truth in texts.items():
            bad = scanned(truth.capitalize() if truth.isupper() else truth, random.Random(name))
            scans.add(
                truth,
                bad,
                await corrected(under_test, cues_of(bad), f"scan-{name}", folder),
                f"scanned {name}",
            )
        figures = scans.figures("scan")
        if not model_store().has("faster-whisper-base"):
            print("  no transcripts: `make models names=faster-whisper-base`")
            return figures
        async with NodeUnderTest(hearing_node, folder / "asr", allowed_roots=(MEDIA,)) as hearing:
            spoken = {name: ("en", truth) for name, truth in recordings().items()} | others()
            for name, (language, truth) in spoken.items():
                segments = await hear(hearing, MEDIA / "asr" / name)
                cues = [Cue(one["start"], one["end"], one["text"].strip()) for one in segments]
                after = await corrected(under_test, cues, f"heard-{name}", folder, language)
                heard.add(truth, text_of(segments), after, f"heard {name}")
    return figures | heard.figures("asr")


def main() -> int:
    """Measure, print, judge."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("subtitle", "asr"):
            (folder / part).mkdir()
        figures = asyncio.run(measure(folder))
    print("RESULT " + json.dumps(figures))
    return 1 if any(value for name, value in figures.items() if "worse" in name) else 0


if __name__ == "__main__":
    sys.exit(main())
