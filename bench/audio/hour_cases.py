"""The hours of `bench.audio.hour`: what each task is given, and how a result is told in which something is missing or twice."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise, zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from bench.quality import dialogues
from nodekit import Node
from nodekit.testkit import TaskResult
from services.asr.node import node as asr_node
from services.diarize.node import node as diarize_node
from services.diarize.rttm import from_rttm
from services.diarize.score import score
from services.diarize.turns import Turn
from services.separate.node import node as separate_node
from services.tts.node import node as tts_node

MEDIA = Path(__file__).resolve().parents[3] / "shared" / "media"
Wrong = Callable[[TaskResult], str]


@dataclass(frozen=True)
class Case:
    """One task at one length."""

    node: Node
    task: str
    stage: str
    """The stage of its long work."""
    given: dict[str, Any]
    wrong: Wrong
    """Says what of a result is not as it must be; empty: nothing."""
    short: dict[str, Any] = field(default_factory=dict)
    """An input of some seconds."""


def _ffmpeg(target: Path, *arguments: str) -> Path:
    subprocess.run(["ffmpeg", "-v", "error", "-y", *arguments, str(target)], check=True)
    return target


def hear(folder: Path, minutes: float) -> Case:
    """A poem of 53 s, over and over."""
    poem, loops = MEDIA / "asr/sonnet001.mp3", max(1, round(minutes * 60 / 53.3))
    long = _ffmpeg(
        folder / "poem.flac", "-stream_loop", str(loops - 1), "-i", str(poem), "-ac", "1", "-ar", "16000"
    )

    def wrong(result: TaskResult) -> str:
        segments = json.loads(result.file("segments_file").read_text())["segments"]
        text = " ".join(segment["text"] for segment in segments).casefold()
        counts = [text.count(words) for words in ("fairest creatures", "glutton be")]
        in_order = all(one["end"] <= other["start"] + 0.05 for one, other in pairwise(segments))
        cover = result.output["coverage"]
        covered = cover["speech_s_text"] / cover["speech_s_vad"]
        # Whisper does not hear every word in every round.
        whole = in_order and covered > 0.95 and all(0.9 * loops <= count <= loops for count in counts)
        return "" if whole else f"{loops} poems, {counts} heard, in order {in_order}, covered {covered:.3f}"

    given = {"audio_path": str(long), "language": "en", "beam_size": 1}
    short = {"audio_path": str(MEDIA / "asr/jfk.flac"), "language": "en"}
    return Case(asr_node, "faster_whisper.transcribe_audio", "transcribing", given, wrong, short)


def tell_apart(folder: Path, minutes: float) -> Case:
    """Dialogues of four voices, one after the other."""
    parts, truth, seconds, seed = [], list[Turn](), 0.0, 0
    while seconds < minutes * 60:
        made = dialogues.make(4, seed % 40)
        truth += [turn._replace(start=turn.start + seconds, end=turn.end + seconds) for turn in made.turns]
        parts.append(made.samples)
        seconds, seed = seconds + len(made.samples) / dialogues.SAMPLE_RATE, seed + 1
    long = dialogues.write_wave(folder / "talk.wav", np.concatenate(parts))
    short = dialogues.write_wave(folder / "short.wav", parts[0][: 10 * dialogues.SAMPLE_RATE])

    def wrong(result: TaskResult) -> str:
        (found,) = from_rttm(result.file("rttm_file").read_text()).values()
        rate = score(truth, found, collar_seconds=0.25).der
        voices = result.output["total_speakers"]
        return "" if rate < 0.05 and voices == 4 else f"DER {rate:.3f}, {voices} speakers instead of 4"

    inputs = [{"audio_path": str(path)} for path in (long, short)]
    return Case(
        diarize_node, "pyannote_audio.diarize_speakers", "comparing voices", inputs[0], wrong, inputs[1]
    )


def part(folder: Path, minutes: float) -> Case:
    """The poem over noise, by the engine for speech."""
    sources = [
        "-stream_loop",
        "-1",
        "-i",
        str(MEDIA / "asr/sonnet001.mp3"),
        "-f",
        "lavfi",
        "-i",
        "anoisesrc=r=16000:a=0.02:c=pink",
    ]
    graph = [
        "-filter_complex",
        "[0:a]aresample=16000,aformat=channel_layouts=mono[v];[v][1:a]amix=2:normalize=0",
    ]
    long = _ffmpeg(folder / "noisy.flac", *sources, *graph, "-t", str(minutes * 60))
    short = _ffmpeg(folder / "short.flac", *sources, *graph, "-t", "5")

    def wrong(result: TaskResult) -> str:
        names = (long, result.file("vocal_audio"), result.file("instrumental_audio"))
        heard, error, level = 0, 0.0, 0.0
        for blocks in zip_longest(*map(_blocks, names), fillvalue=np.zeros(0)):
            mix, voice, rest = blocks
            if not len(mix) == len(voice) == len(rest):
                return f"the stems end at {heard + len(voice)} and {heard + len(rest)}, the mix at {heard + len(mix)}"
            heard += len(mix)
            error += float(((mix * result.output["gain"] - voice - rest) ** 2).sum())
            level += float((mix**2).sum())
        residual = 10 * np.log10(max(error, 1e-20) / level)
        return "" if heard and residual < -80 else f"residual {residual:.0f} dB"

    given = {"audio_path": str(long), "engine": "deepfilternet"}
    return Case(
        separate_node,
        "audio_separator.separate_vocals",
        "separating",
        given,
        wrong,
        {**given, "audio_path": str(short)},
    )


def _blocks(path: Path) -> Iterator[Any]:
    """Give a file's samples in blocks of a million."""
    argv = ["ffmpeg", "-v", "error", "-i", str(path), "-f", "f32le", "-"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        while body := process.stdout.read(4 << 20):
            yield np.frombuffer(body, "<f4").astype(float)


def say(folder: Path, minutes: float) -> Case:
    """As many sentences as take so long; some 3.4 s each with their pause."""
    count = max(4, round(minutes * 60 / 3.4))
    text = "\n".join(f"{sentence}" for sentence in (dialogues.SENTENCES * (count // 16 + 1))[:count])

    def wrong(result: TaskResult) -> str:
        sentences = json.loads(result.file("sentences_file").read_text())["sentences"]
        gaps = [later["start"] - earlier["end"] for earlier, later in pairwise(sentences)]
        said = [row["text"].strip() for row in sentences]
        wanted = [line.strip() for line in text.split("\n")]
        whole, pause = " ".join(said) == " ".join(wanted), min(gaps, default=0.0)
        return (
            ""
            if whole and pause > -0.01
            else f"{len(said)} sentences, whole {whole}, least pause {pause:.2f} s"
        )

    given = {"text": text, "loudness": None}
    return Case(
        tts_node, "indextts.generate_speech", "speaking", given, wrong, {"text": "This is one sentence."}
    )


CASES: dict[str, Callable[[Path, float], Case]] = {
    "hear": hear,
    "diarize": tell_apart,
    "separate": part,
    "speak": say,
}
