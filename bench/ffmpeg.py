"""extract_audio through the node against bare ffmpeg, and key frames against real time: `make bench-ffmpeg`.

Both sides read the same ten-minute film and write to the same disk, in turns, so that whatever else the machine
does strikes both. The node is a real one: gRPC, typed input, child process, probe, measured levels, stored output.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from nodekit.testkit import NodeUnderTest
from services.ffmpeg.node import node

FILM_SECONDS = 600
PAIRS = 9
KEYFRAME_RUNS = 3
ALLOWED_SECONDS = 0.05
"""What a task may cost beyond bare ffmpeg whatever its length: a probe, a call, a stored file."""

MOTION = "testsrc2=s=1280x720:r=25:d=60"
SOUND = "anoisesrc=color=pink:r=48000:a=0.3:d=60,tremolo=f=4:d=0.8"


def make_film(folder: Path) -> Path:
    """Make ten minutes of 720p H.264, a key frame every two seconds, with stereo AAC: one minute, ten times."""
    minute, film = folder / "minute.mp4", folder / "film.mp4"
    video = ["-c:v", "libx264", "-preset", "ultrafast", "-g", "50", "-pix_fmt", "yuv420p"]
    audio = ["-c:a", "aac", "-b:a", "128k", "-ac", "2"]
    run("-f", "lavfi", "-i", MOTION, "-f", "lavfi", "-i", SOUND, *video, *audio, str(minute))
    run("-stream_loop", str(FILM_SECONDS // 60 - 1), "-i", str(minute), "-c", "copy", str(film))
    minute.unlink()
    return film


def run(*arguments: str) -> float:
    """Run bare ffmpeg; returns the seconds it took."""
    began = time.perf_counter()
    subprocess.run(["ffmpeg", "-nostdin", "-hide_banner", "-v", "error", "-y", *arguments], check=True)
    return time.perf_counter() - began


def bare_audio(film: Path, folder: Path) -> float:
    """Do by hand what the task does by default."""
    target = folder / "bare.wav"
    seconds = run("-i", str(film), "-vn", "-ac", "1", "-ar", "16000", "-c:a", "pcm_s16le", str(target))
    target.unlink()
    return seconds


async def task_seconds(under_test: NodeUnderTest, task: str, **task_input: object) -> float:
    """Run a task to its end, its output stored; returns the seconds its client waited."""
    began = time.perf_counter()
    result = await under_test.run(f"ffmpeg.{task}", task_input, timeout_seconds=300)
    seconds = time.perf_counter() - began
    if result.outcome != "completed":
        raise SystemExit(f"{task} {result.outcome}: {result.error.code} {result.error.message}")
    shutil.rmtree(under_test.root)
    return seconds


async def measure(folder: Path) -> tuple[list[tuple[float, float]], list[float]]:
    """Return (bare, ours) seconds per pair of extractions, and seconds per key frame task."""
    film = make_film(folder)
    pairs: list[tuple[float, float]] = []
    async with NodeUnderTest(node, folder) as under_test:
        bare_audio(film, folder)
        await task_seconds(under_test, "extract_audio", video_path=str(film))
        for turn in range(PAIRS):
            # Whoever goes first finds a colder cache: take turns at that too.
            if turn % 2:
                ours = await task_seconds(under_test, "extract_audio", video_path=str(film))
                pairs.append((bare_audio(film, folder), ours))
            else:
                bare = bare_audio(film, folder)
                pairs.append((bare, await task_seconds(under_test, "extract_audio", video_path=str(film))))
        keyframes = [
            await task_seconds(under_test, "extract_keyframes", video_path=str(film), mode="iframe")
            for _ in range(KEYFRAME_RUNS)
        ]
    return pairs, keyframes


def main() -> None:
    """Measure, print a table and the result line."""
    with tempfile.TemporaryDirectory(prefix="yivideo-bench-") as name:
        pairs, keyframes = asyncio.run(measure(Path(name)))
    bare = statistics.median(seconds for seconds, _ in pairs)
    ours = statistics.median(seconds for _, seconds in pairs)
    frames = statistics.median(keyframes)
    ratio = max(0.0, ours - ALLOWED_SECONDS) / bare
    speed = FILM_SECONDS / frames
    print(f"film: {FILM_SECONDS} s of 1280x720, 25 frames/s, a key frame every 2 s, AAC stereo 48 kHz")
    print(f"{'':32}{'median s':>10}{'best s':>10}{'x real time':>13}")
    rows = [
        ("bare ffmpeg, audio", [seconds for seconds, _ in pairs]),
        ("ffmpeg.extract_audio", [seconds for _, seconds in pairs]),
        ("ffmpeg.extract_keyframes (iframe)", keyframes),
    ]
    for label, seconds in rows:
        median = statistics.median(seconds)
        print(f"{label:32}{median:>10.3f}{min(seconds):>10.3f}{FILM_SECONDS / median:>13.0f}")
    print(f"extract_audio: ({ours:.3f} - {ALLOWED_SECONDS}) / {bare:.3f} = {ratio:.3f} (target <= 1.05)")
    print(f"key frames: {speed:.0f} x real time (target > 100)")
    print(
        "RESULT "
        + json.dumps({"extract_audio_ratio": round(ratio, 4), "keyframes_x_realtime": round(speed, 1)})
    )


if __name__ == "__main__":
    main()
