"""Whether speech under music is heard better when the music is taken away first: `python -m bench.quality.separate_asr`.

Two readings (../shared/media/asr) are mixed with two stretches of Big Buck Bunny's music, which plays alone for three seconds
before, from 20 dB below the speech to 5 dB above it, and written down with and without `audio_separator.separate_vocals`. What is
measured of each mix without knowing its parts is `speech_over_music_db`; the table says from where on separation pays. Ends with
`RESULT {...}`.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from rapidfuzz.distance import Levenshtein

from bench.quality.asr import KENNEDY, MEDIA, WIZARD, normalised
from nodekit.testkit import NodeUnderTest
from services.asr.node import node as asr_node
from services.separate.listening import LOUD_DB
from services.separate.node import node as separate_node
from subtitles.reading import read_document

_RATE = 16_000
_RATIOS = (20, 10, 5, 0, -5)
_BEFORE = 3.0
_MUSIC = (0.0, 14.0)


def samples(path: Path, start: float = 0.0, seconds: float = 1e4) -> np.ndarray[Any, Any]:
    """Return one channel of a recording."""
    done = subprocess.run(
        ["ffmpeg", "-v", "error", "-ss", str(start), "-t", str(seconds), "-i", path, "-f", "f32le", "-ar", str(_RATE),
         "-ac", "1", "-"],
        check=True, capture_output=True, timeout=100,
    )  # fmt: skip
    return np.frombuffer(done.stdout, "<f4")


def readings() -> dict[str, tuple[np.ndarray[Any, Any], list[str]]]:
    """Return speech and its words: two short readings in a row, and the sonnet's first half minute."""
    pause = np.zeros(_RATE // 2, np.float32)
    short = [samples(MEDIA / "asr" / name) for name in ("librispeech_61-70968-0000.flac", "jfk.flac")]
    cues = [
        cue for cue in read_document(MEDIA / "asr/sonnet001.gt.srt").cues if cue.plain != "1" and cue.end < 30
    ]
    sonnet = samples(MEDIA / "asr/sonnet001.mp3", cues[0].start, cues[-1].end - cues[0].start)
    return {
        "readings": (np.concatenate([short[0], pause, short[1]]), normalised(f"{WIZARD} {KENNEDY}")),
        "sonnet": (sonnet, normalised(" ".join(cue.plain for cue in cues))),
    }


def mixed(speech: np.ndarray[Any, Any], music: np.ndarray[Any, Any], ratio_db: float) -> np.ndarray[Any, Any]:
    """Return speech over music that begins earlier; the ratio is of their powers while somebody speaks."""
    length = len(speech) + int(_BEFORE * _RATE)
    bed = np.resize(music, length)
    spoken = speech[np.abs(speech) > 0.01 * np.abs(speech).max()]
    gain = np.sqrt(np.mean(spoken**2) / np.mean(bed**2)) / 10 ** (ratio_db / 20)
    whole = bed * gain
    whole[-len(speech) :] += speech
    scaled: np.ndarray[Any, Any] = (whole / max(1.0, float(np.abs(whole).max()) / 0.95)).astype(np.float32)
    return scaled


def write(path: Path, sound: np.ndarray[Any, Any]) -> Path:
    """Write a WAV."""
    subprocess.run(
        ["ffmpeg", "-v", "error", "-y", "-f", "f32le", "-ar", str(_RATE), "-ac", "1", "-i", "-", path],
        input=sound.astype("<f4").tobytes(), check=True, timeout=60,
    )  # fmt: skip
    return path


async def measure(folder: Path) -> dict[str, float]:
    """Print the table; returns the error rates with every choice."""
    errors: dict[str, list[float]] = {"never": [], "always": [], "decided": []}
    async with (
        NodeUnderTest(asr_node, folder / "asr", allowed_roots=(folder,)) as ears,
        NodeUnderTest(separate_node, folder / "separate", allowed_roots=(folder,)) as parting,
    ):

        async def error_rate(path: Path, truth: list[str]) -> float:
            task = {"audio_path": str(path), "language": "en", "vad_filter": False}
            result = await ears.run(
                "faster_whisper.transcribe_audio", task, task_id=f"h-{path.stem}", wait_seconds=200
            )
            if result.outcome != "completed":
                raise SystemExit(f"{path.name}: {result.error.message}")
            document = json.loads(result.file("segments_file").read_text())
            heard = normalised(" ".join(one["text"] for one in document["segments"]))
            return min(1.0, Levenshtein.distance(heard, truth) / len(truth))

        for name, (speech, truth) in readings().items():
            for place in _MUSIC:
                music = samples(MEDIA / "video/big_buck_bunny_0_30.webm", place, 14.0)
                for ratio in _RATIOS:
                    path = write(folder / f"{name}-{place:g}-{ratio}.wav", mixed(speech, music, ratio))
                    task = {
                        "audio_path": str(path),
                        "output_format": "wav",
                        "engine": "deepfilternet",
                        "only_when": "music_is_loud",
                    }
                    told = await parting.run(
                        "audio_separator.separate_vocals", task, task_id=f"l-{path.stem}", wait_seconds=200
                    )
                    loud, heard = told.output["parted"], told.output["heard"]
                    done = told
                    if not loud:
                        again = {**task, "only_when": "always"}
                        done = await parting.run(
                            "audio_separator.separate_vocals",
                            again,
                            task_id=f"p-{path.stem}",
                            wait_seconds=200,
                        )
                    voices = folder / f"voices-{path.name}"
                    voices.write_bytes(done.file("vocal_audio").read_bytes())
                    before, after = await error_rate(path, truth), await error_rate(voices, truth)
                    errors["never"].append(before)
                    errors["always"].append(after)
                    errors["decided"].append(after if loud else before)
                    rates = f"WER {before:.3f}, freed {after:.3f}{'  loud' if loud else ''}"
                    print(f"  {name} music {place:g} at {ratio:>3} dB: {heard}, {rates}", flush=True)
    return {f"music_wer_{choice}": round(float(np.mean(found)), 4) for choice, found in errors.items()}


def main() -> int:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        figures = asyncio.run(measure(Path(folder)))
    print(f"  decided at {LOUD_DB:g} dB")
    print("RESULT " + json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
