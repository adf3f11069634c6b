"""Quality of hearing on recordings with known truth: `python -m bench.quality.asr`.

Word error rate on ../shared/media/asr, words invented on silence and noise (../shared/media/vad, and gaps cut into jfk), times of
word starts against the sonnet's subtitle lines, languages. Defaults throughout: pads, pauses and windows were compared on the
sonnet alone; everything else is reported on recordings that nothing was chosen on. Ends with `RESULT {...}`, and with status 1
when a gate is missed.

Beside the sonnet's figure stands what the bare library makes of it with the same weights, as it is by default and in batches: a
handful of words of the 108 are heard one way or another by chance of arithmetic, so that one figure alone says little.

Normaliser: lower case, punctuation left out, apostrophes joined, number words as digits; the reference and what was heard alike.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import subprocess
import sys
import tempfile
from math import inf
from pathlib import Path
from statistics import median
from typing import Any

from rapidfuzz.distance import Levenshtein

from nodekit.models import model_store
from nodekit.testkit import NodeUnderTest
from services.asr.node import node
from subtitles.reading import read_document

MEDIA = Path(__file__).resolve().parents[3] / "shared" / "media"
TASK = "faster_whisper.transcribe_audio"
KENNEDY = "And so, my fellow Americans, ask not what your country can do for you, ask what you can do for your country."
WIZARD = "HE BEGAN A CONFUSED COMPLAINT AGAINST THE WIZARD WHO HAD VANISHED BEHIND THE CURTAIN ON THE LEFT"
GATES = {
    "asr_wer_jfk": 0.0,
    "asr_wer_librispeech": 0.0,
    "asr_wer_sonnet": 0.08,
    "asr_invented_words_in_silence": 0,
    "asr_word_start_p50_ms": 120.0,
    "asr_language_errors": 0,
}
_NUMBERS = {"one": "1", "two": "2", "three": "3", "four": "4", "five": "5", "six": "6"}
_SPEECH: dict[str, list[tuple[float, float]]] = {
    "n": [],
    "zero": [],
    "s": [(0, 2.3)],
    "ns": [(1.5, 4)],
    "nsn": [(1.5, 4.4)],
    "sn": [(0, 2.8)],
    "sns": [(0, 2.3)],
}
"""Where speech lies in each file of ../shared/media/vad, in seconds, by its name and the lengths of its parts."""


def normalised(text: str) -> list[str]:
    """Return the words that count."""
    bare = re.sub(r"[^\w ]", " ", re.sub(r"['’]", "", text.casefold()))
    return [_NUMBERS.get(word, word) for word in bare.split()]


def error_rate(reference: str, heard: str) -> float:
    """Return substitutions, deletions and insertions for each word of the reference."""
    truth, said = normalised(reference), normalised(heard)
    return Levenshtein.distance(truth, said) / len(truth)


async def hear(under_test: NodeUnderTest, path: Path, **options: Any) -> list[dict[str, Any]]:
    """Return the segments of a recording, heard through the node."""
    result = await under_test.run(
        TASK, {"audio_path": str(path), **options}, task_id=path.stem, wait_seconds=600
    )
    if result.outcome != "completed":
        raise SystemExit(f"{path.name}: {result.error.code} {result.error.message}")
    segments: list[dict[str, Any]] = json.loads(result.file("segments_file").read_text())["segments"]
    return segments


def text_of(segments: list[dict[str, Any]]) -> str:
    """Return all that was heard."""
    return " ".join(segment["text"] for segment in segments)


def words_outside(segments: list[dict[str, Any]], speech: list[tuple[float, float]]) -> int:
    """Return how many words lie, by their middle, where nobody speaks."""
    middles = [(word["start"] + word["end"]) / 2 for segment in segments for word in segment["words"]]
    return sum(not any(start - 0.2 <= middle <= end + 0.2 for start, end in speech) for middle in middles)


async def invented(under_test: NodeUnderTest, folder: Path) -> int:
    """Return the words that were heard in silence and noise."""
    total = 0
    for name, speech in _SPEECH.items():
        total += words_outside(await hear(under_test, MEDIA / f"vad/{name}.wav"), speech)
    # Twelve seconds of silence, and twelve of faint noise, between the halves of the speech.
    gap = 12.0
    for noise in ("anullsrc=r=16000:cl=mono", "anoisesrc=r=16000:a=0.003"):
        target = folder / f"gap-{noise[:6]}.wav"
        graph = (
            "[0:a]aresample=16000,aformat=channel_layouts=mono,asplit[x][y];[x]atrim=0:5[a];"
            "[y]atrim=5,asetpts=PTS-STARTPTS[c];[1:a]aformat=channel_layouts=mono[b];[a][b][c]concat=n=3:v=0:a=1"
        )
        source = ["-i", str(MEDIA / "asr/jfk.flac"), "-f", "lavfi", "-t", str(gap), "-i", noise]
        subprocess.run(
            ["ffmpeg", "-v", "error", "-y", *source, "-filter_complex", graph, str(target)], check=True
        )
        segments = await hear(under_test, target)
        total += words_outside(segments, [(0.0, 5.0), (5.0 + gap, 11.0 + gap)])
        if error_rate(KENNEDY, text_of(segments)) > 0:
            print(f"  {target.name}: {text_of(segments)}")
    return total


def start_errors(segments: list[dict[str, Any]]) -> list[float]:
    """Return, for each line of the sonnet whose first word was heard, how far its start is from the subtitle's, in ms."""
    words = [word for segment in segments for word in segment["words"]]
    errors = []
    for cue in read_document(MEDIA / "asr/sonnet001.gt.srt").cues:
        first = normalised(cue.plain)[0]
        near = [abs(word["start"] - cue.start) for word in words if normalised(word["word"])[:1] == [first]]
        if near and min(near) < 1.0:
            errors.append(min(near) * 1000)
    return errors


async def language_errors(under_test: NodeUnderTest) -> int:
    """Return how many stretches were taken for another language."""
    segments = await hear(under_test, MEDIA / "asr/multilingual.mp3")
    wrong: int = sum(
        segment["language"] != ("en" if (segment["start"] + segment["end"]) / 2 < 30 else "de")
        for segment in segments
    )
    for name, language in (("chinese.wav", "zh"), ("common_voice_ja_24511055.mp3", "ja"), ("jfk.flac", "en")):
        heard = await hear(under_test, MEDIA / "asr" / name)
        wrong += any(segment["language"] != language for segment in heard) or not heard
    return wrong


def bare(truth: str) -> dict[str, float]:
    """Return the bare library's rates on the sonnet, on one thread: arithmetic differs with their number."""
    from faster_whisper import BatchedInferencePipeline, WhisperModel

    model_folder = str(model_store().folder("faster-whisper-base"))
    model = WhisperModel(model_folder, "cpu", compute_type="int8", cpu_threads=1, local_files_only=True)
    path = str(MEDIA / "asr/sonnet001.mp3")
    ways: dict[str, Any] = {
        "default": model.transcribe(path, language="en"),
        "vad": model.transcribe(path, language="en", vad_filter=True),
        "batched": BatchedInferencePipeline(model).transcribe(path, language="en", batch_size=8),
    }
    rates = {}
    for way, (segments, _) in ways.items():
        rates[f"asr_wer_sonnet_bare_{way}"] = error_rate(truth, " ".join(one.text for one in segments))
    return rates


async def measure(folder: Path) -> dict[str, float]:
    """Return every figure."""
    figures: dict[str, float] = {}
    async with NodeUnderTest(node, folder, allowed_roots=(MEDIA,)) as under_test:
        sonnet = await hear(under_test, MEDIA / "asr/sonnet001.mp3")
        truth = " ".join(cue.plain for cue in read_document(MEDIA / "asr/sonnet001.gt.srt").cues)
        jfk = await hear(under_test, MEDIA / "asr/jfk.flac")
        wizard = await hear(under_test, MEDIA / "asr/librispeech_61-70968-0000.flac")
        figures["asr_wer_jfk"] = error_rate(KENNEDY, text_of(jfk))
        figures["asr_wer_librispeech"] = error_rate(WIZARD, text_of(wizard))
        figures["asr_wer_sonnet"] = error_rate(truth, text_of(sonnet))
        figures |= await asyncio.to_thread(bare, truth)
        figures["asr_invented_words_in_silence"] = await invented(under_test, folder)
        figures["asr_word_start_p50_ms"] = median(start_errors(sonnet))
        figures["asr_language_errors"] = await language_errors(under_test)
    return {name: round(value, 4) for name, value in figures.items()}


def main() -> None:
    """Measure, print a table and the result."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = asyncio.run(measure(Path(folder)))
    for name, value in figures.items():
        gate = GATES.get(name, inf)
        print(f"{name:32} {value:8g}   at most {gate:g}{'' if value <= gate else '   MISSED'}")
    print("RESULT", json.dumps(figures))
    sys.exit(any(value > GATES.get(name, inf) for name, value in figures.items()))


if __name__ == "__main__":
    main()
