"""How well voices are told from what is around them: `python -m bench.quality.separate`.

Speech of several voices is laid at 0 dB into a loop and into noise, all made here, and where ../shared/media is also real speech
into a film's sound track. For each: SI-SDR before and after. The stems of every mix go through the node, and the residual of
their sum is what is reported, the worst. Ends with `RESULT {...}` and with status 1 when a gate is missed.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from nodekit.testkit import NodeUnderTest
from services.separate.node import node
from tests.services.separate.material import Signal, leveled, music, pink, read, si_sdr_db, speech, write

RATE = 48_000
SECONDS = 10
SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "media"
GATES = {"speech_si_sdr_gain_db": 8.0}
MOST_RESIDUAL_DB = -40.0


def made_mixes() -> list[tuple[str, Signal, Signal]]:
    """Return name, voice and mix of what is made here."""
    mixes = []
    for voice_name in ("slt", "rms", "awb"):
        voice = np.resize(speech(RATE, voice_name), SECONDS * RATE)
        white = leveled(np.random.default_rng(1).standard_normal(len(voice)), 0.1)
        for around, sound in (
            ("loop", music(RATE, len(voice))),
            ("pink", pink(len(voice))),
            ("white", white),
        ):
            mixes.append((f"{voice_name} in {around}", voice, voice + sound))
    return mixes


def real_mixes() -> list[tuple[str, Signal, Signal]]:
    """Return what is made of the shared recordings; none where they are not."""
    if not SHARED.is_dir():
        return []
    voice = _mono(SHARED / "asr" / "librispeech_61-70968-0000.flac")
    film = _mono(SHARED / "video" / "big_buck_bunny_0_30.webm")
    voice = leveled(voice, 0.1)
    return [("librispeech in a film's sound", voice, voice + leveled(film[: len(voice)], 0.1))]


def _mono(path: Path) -> Signal:
    argv = ["ffmpeg", "-v", "error", "-i", str(path), "-vn", "-ac", "1", "-ar", str(RATE), "-f", "f32le", "-"]
    return np.frombuffer(subprocess.run(argv, capture_output=True, check=True).stdout, np.float32)


async def measure(folder: Path) -> tuple[list[float], list[float], float]:
    """Return the gains on made and on real mixes in dB, and the worst residual in dB."""
    gains: dict[bool, list[float]] = {True: [], False: []}
    worst = -np.inf
    async with NodeUnderTest(node, folder) as under_test:
        for is_made, mixes in ((True, made_mixes()), (False, real_mixes())):
            for name, voice, mix in mixes:
                audio = write(folder / "mix.wav", mix, RATE)
                result = await under_test.run(
                    "audio_separator.separate_vocals", {"audio_path": str(audio)}, wait_seconds=300
                )
                if result.outcome != "completed":
                    raise SystemExit(f"{name}: {result.error.code} {result.error.message}")
                voices, _ = read(result.file("vocal_audio"))
                rest, _ = read(result.file("instrumental_audio"))
                error = mix * np.float32(result.output["gain"]) - voices[:, 0] - rest[:, 0]
                residual = 10 * np.log10(max(float((error**2).sum()), 1e-20) / float((mix**2).sum()))
                worst = max(worst, float(residual))
                before, after = si_sdr_db(voice, mix), si_sdr_db(voice, voices[:, 0])
                gains[is_made].append(after - before)
                engine, factor = result.output["engine"], result.output["statistics"]["realtime_factor"]
                print(
                    f"{name}: {before:.1f} -> {after:.1f} dB, residual {residual:.0f} dB, {engine}, {factor:.2f} s a second"
                )
    return gains[True], gains[False], worst


def main() -> None:
    """Measure, print and judge."""
    with tempfile.TemporaryDirectory() as scratch:
        made, real, worst = asyncio.run(measure(Path(scratch)))
    result = {
        "speech_si_sdr_gain_db": round(statistics.mean(made), 2),
        "speech_si_sdr_gain_worst_db": round(min(made), 2),
        "stems_residual_db": round(worst, 1),
    }
    if real:
        result["speech_si_sdr_gain_real_db"] = round(statistics.mean(real), 2)
    print("RESULT", json.dumps(result))
    if result["speech_si_sdr_gain_db"] < GATES["speech_si_sdr_gain_db"] or worst > MOST_RESIDUAL_DB:
        sys.exit("a gate is missed")


if __name__ == "__main__":
    main()
