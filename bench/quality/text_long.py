"""A two-hour film's words through every task of the subtitle node: `python -m bench.quality.text_long`.

Seven thousand seconds of speech by two speakers, with word times, and a film of that length: Big Buck Bunny's 30 s, small, again
and again, so that drawing takes minutes and not hours. A language model that does no harm answers at once, so that what is measured
is ours. Every task must end well and keep to the film's two hours, and while subtitles are drawn memory must stay flat: the second
half is held against the first. Ends with `RESULT {...}`, and with status 1 when a task went wrong or memory grew.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bench import processes
from bench.quality.text_sync import MEDIA
from language_models import llm_settings
from nodekit.testkit import NodeUnderTest
from services.subtitle.node import node
from subtitles.reading import read_document
from tests.language_models.minds import speaking, word_by_word
from tests.language_models.model_server import serving

SECONDS = 7200.0
_TEXT = (
    "He began a confused complaint against the wizard who had vanished behind the curtain on the left.",
    "And so, my fellow Americans, ask not what your country can do for you, ask what you can do for your country.",
)
_WORD_SECONDS, _PAUSE_SECONDS = 0.33, 1.1
_WAIT_SECONDS = 500.0
_MOST_GROWTH_MIB = 64
"""The list of frames that an MP4 ends with grows with the film: a few MiB an hour."""


def transcript() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return segments with words, and the turns of who speaks them."""
    segments: list[dict[str, Any]] = []
    turns: list[dict[str, Any]] = []
    clock = 1.0
    while clock < SECONDS - 15:
        text = _TEXT[len(segments) % 2]
        start, words = clock, []
        for word in text.split():
            words.append(
                {
                    "word": f" {word}",
                    "start": round(clock, 3),
                    "end": round(clock + 0.3, 3),
                    "probability": 0.9,
                }
            )
            clock += _WORD_SECONDS
        segments.append(
            {"id": len(segments), "start": start, "end": round(clock, 3), "text": text, "words": words}
        )
        turns.append({"start": start, "end": round(clock, 3), "speaker": f"SPEAKER_0{len(segments) % 2}"})
        clock = round(clock + _PAUSE_SECONDS, 3)
    return segments, turns


def film(folder: Path) -> Path:
    """Make a film of two hours: half a minute is coded once, and copied as often as it takes."""
    short, target = folder / "short.mp4", folder / "film.mkv"
    source = MEDIA / "video/big_buck_bunny_0_30.webm"
    small = [
        "-t",
        "30",
        "-vf",
        "scale=160:-2,fps=24",
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-crf",
        "30",
    ]
    _ffmpeg("-i", source, *small, "-c:a", "aac", "-b:a", "32k", short)
    _ffmpeg("-stream_loop", "-1", "-i", short, "-t", str(SECONDS), "-c", "copy", target)
    return target


def _ffmpeg(*arguments: str | Path) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-y", *arguments], check=True, timeout=300)


class Memory:
    """What this process and all below it hold, looked at twice a second, in MiB."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Look for as long as the block runs; what was seen before is forgotten."""
        self.seen.clear()
        looking = asyncio.create_task(self._look())
        try:
            yield
        finally:
            looking.cancel()

    async def _look(self) -> None:
        while True:
            self.seen.append(sum(processes.rss_mib(pid) for pid in processes.tree([os.getpid()])))
            await asyncio.sleep(0.5)

    @property
    def peak(self) -> float:
        """Most that was held."""
        return max(self.seen)

    @property
    def growth(self) -> float:
        """By how much the second half was above the first; less than nothing where it was below."""
        half = max(1, len(self.seen) // 2)
        return max(self.seen[half:], default=0.0) - max(self.seen[:half])


def plan(folder: Path) -> list[tuple[str, dict[str, Any], str]]:
    """Return the tasks in an order in which each finds what it needs: name, input, field of the cues that it makes (or empty).

    `@name` in an input is the file that the task of that name made.
    """
    text, turns = str(folder / "transcript.json"), str(folder / "turns.json")
    merge = {"segments_file": text, "diarization_file": turns}
    cues = "@generate_subtitle_files"
    translating = {"segments_file": cues, "target_language": "es", "batch_size": 100, "parallel": 4}
    return [
        (
            "generate_subtitle_files",
            {"segments_file": text, "formats": ["srt", "vtt", "ass", "ttml", "lrc", "txt", "json"]},
            "subtitle_path",
        ),
        ("merge_speaker_segments", merge, ""),
        ("merge_with_word_timestamps", {**merge, "rule": "keep_words"}, "merged_segments_file"),
        ("merge_speaker_based_subtitles", {**merge, "rule": "keep_words"}, "merged_segments_file"),
        (
            "prepare_tts_segments",
            {"segments_file": "@merge_with_word_timestamps", "rule": "keep_words"},
            "prepared_segments_file",
        ),
        (
            "segment_subtitles",
            {"subtitle_file": text, "text_json_path": "segments[].text | join(' ', @)"},
            "",
        ),
        (
            "rebuild_subtitle_with_words",
            {"segments_file": text, "optimized_text_file": str(folder / "text.txt")},
            "optimized_segments_file",
        ),
        ("fix_subtitles", {"subtitle_path": cues, "language": "en"}, "fixed_subtitle_path"),
        (
            "convert_subtitles",
            {"subtitle_path": cues, "output_formats": ["vtt", "ass", "ttml"]},
            "subtitle_path",
        ),
        ("compare_subtitles", {"subtitle_path": "@fix_subtitles", "reference_path": cues}, ""),
        (
            "correct_subtitles",
            {"subtitle_path": cues, "subtitle_correction": {"enabled": True, "batch_size": 100}},
            "corrected_subtitle_path",
        ),
        (
            "ai_optimize_subtitles",
            {"segments_file": cues, "subtitle_optimization": {"enabled": True, "batch_size": 100}},
            "optimized_file_path",
        ),
        ("ai_optimize_text", {"segments_file": cues, "batch_size": 100}, ""),
        ("translate_subtitles", translating, "translated_segments_file"),
        (
            "mux_subtitles",
            {"video_path": str(folder / "film.mkv"), "tracks": [{"subtitle_path": cues, "language": "en"}]},
            "",
        ),
        ("extract_soft_subtitles", {"video_path": "@mux_subtitles"}, "subtitle_path"),
        (
            "burn_subtitles",
            {"video_path": str(folder / "film.mkv"), "subtitle_path": cues, "preset": "ultrafast"},
            "",
        ),
    ]


_FILES = {
    "generate_subtitle_files": "subtitle_path",
    "merge_with_word_timestamps": "merged_segments_file",
    "fix_subtitles": "fixed_subtitle_path",
    "mux_subtitles": "video_path",
}


def filled(value: Any, made: dict[str, str]) -> Any:
    """Return an input with the files that earlier tasks made."""
    if isinstance(value, str):
        return made[value[1:]] if value.startswith("@") else value
    if isinstance(value, dict):
        return {name: filled(one, made) for name, one in value.items()}
    return [filled(one, made) for one in value] if isinstance(value, list) else value


async def measure(folder: Path) -> dict[str, float]:
    """Run every task once; returns seconds, memory, and how many ended otherwise than they must."""
    segments, turns = transcript()
    (folder / "transcript.json").write_text(json.dumps({"segments": segments}))
    (folder / "turns.json").write_text(json.dumps({"segments": turns}))
    (folder / "text.txt").write_text(" ".join(one["text"] for one in segments))
    film(folder)
    made: dict[str, str] = {}
    wrong, slowest, peak, memory = 0, ("", 0.0), 0.0, Memory()
    async with serving(answer=speaking(word_by_word)) as server, NodeUnderTest(node, folder) as under_test:
        os.environ["YIVIDEO_LLM__OPENAI_COMPATIBLE__API_BASE_URL"] = server.base
        os.environ["YIVIDEO_LLM__OPENAI_COMPATIBLE__MODEL"] = "stub"
        os.environ["YIVIDEO_LLM__REQUESTS_PER_MINUTE"] = "0"
        llm_settings.cache_clear()
        for name, task, field in plan(folder):
            began = time.monotonic()
            async with memory.watched():
                result = await under_test.run(
                    f"wservice.{name}", filled(task, made), task_id=name, wait_seconds=_WAIT_SECONDS
                )
            took = time.monotonic() - began
            if result.outcome != "completed":
                print(f"  {name}: {result.error.code} {result.error.message}")
                wrong += 1
                continue
            if name in _FILES:
                made[name] = str(result.file(_FILES[name]))
            found = read_document(result.file(field)).cues if field else []
            kept = not found or (abs(found[-1].end - segments[-1]["end"]) < 3 and len(found) > 100)
            wrong += not kept
            peak = max(peak, memory.peak)
            slowest = max(slowest, (name, took), key=lambda one: one[1])
            print(
                f"  {name}: {took:.1f} s, {len(found)} cues, {memory.peak:.0f} MiB in all{'' if kept else '  WRONG'}",
                flush=True,
            )
    print(f"  slowest: {slowest[0]}")
    return {
        "long_tasks_wrong": wrong,
        "long_slowest_s": round(slowest[1], 1),
        "long_rss_mib": round(peak),
        # Drawing is the last task and the longest.
        "long_burn_growth_mib": round(memory.growth),
    }


def main() -> int:
    """Measure, judge, print."""
    with tempfile.TemporaryDirectory() as folder:
        figures = asyncio.run(measure(Path(folder)))
    print("RESULT " + json.dumps(figures))
    return 1 if figures["long_tasks_wrong"] or figures["long_burn_growth_mib"] > _MOST_GROWTH_MIB else 0


if __name__ == "__main__":
    sys.exit(main())
