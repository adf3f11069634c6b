"""A voice over a film: how deep the rest steps back, how loud the whole is, and that nothing moves in time."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nodekit.testkit import NodeUnderTest
from services.ffmpeg.node import node

RATE = 48_000
LOW, HIGH = 300, 3000
"""Hertz of the background and of the voice, far enough apart to be told from each other by ear and by filter."""
BEEP_SECONDS = 2.0


def ffmpeg(*words: object) -> None:
    """Run ffmpeg."""
    subprocess.run(["ffmpeg", "-v", "error", "-y", *map(str, words)], check=True, timeout=60)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """8 s of grey with a white flash of one frame at 2 s, when its low tone also has a click of a third pitch."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    flash = f"between(t,{BEEP_SECONDS - 0.001},{BEEP_SECONDS + 0.039})"
    ffmpeg(
        *("-f", "lavfi", "-i", f"color=gray:s=160x120:r=25:d=8,eq=brightness='0.5*{flash}':eval=frame"),
        *(
            "-f",
            "lavfi",
            "-i",
            f"aevalsrc='0.05*sin(2*PI*{LOW}*t)+0.3*sin(2*PI*1000*t)*{flash}:s={RATE}:d=8'",
        ),
        *("-c:v", "libx264", "-preset", "ultrafast", "-g", 25, "-c:a", "aac", "-b:a", "192k", path),
    )
    return path


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A high tone from 4 to 5 s and, after a breath, from 5.2 to 6 s."""
    path = tmp_path_factory.mktemp("voice") / "voice.wav"
    spoken = "(between(t,4,5)+between(t,5.2,6))"
    ffmpeg("-f", "lavfi", "-i", f"aevalsrc='0.2*sin(2*PI*{HIGH}*t)*{spoken}:s=24000:d=8'", path)
    return path


def sound(path: Path) -> np.ndarray[Any, Any]:
    """Return the first sound track's left channel."""
    done = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", path, "-map", "0:a:0", "-f", "f32le", "-ar", str(RATE), "-ac", "1", "-"],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    return np.frombuffer(done.stdout, "<f4")


def level_db(samples: np.ndarray[Any, Any], hertz: int, start: float, end: float) -> float:
    """Return the level of one pitch in a span."""
    part = samples[int(start * RATE) : int(end * RATE)]
    turn = np.exp(-2j * np.pi * hertz * np.arange(len(part)) / RATE)
    return float(20 * np.log10(2 * abs(np.mean(part * turn)) + 1e-9))


def onset(samples: np.ndarray[Any, Any], hertz: int) -> float:
    """Return the second at which a pitch is first half as loud as it gets."""
    size = RATE // 1000
    turn = np.exp(-2j * np.pi * hertz * np.arange(len(samples)) / RATE)
    heard = np.abs(np.add.reduceat(samples * turn, np.arange(0, len(samples) - size, size)))
    heard = np.convolve(heard, np.ones(5) / 5, "same")
    return float(np.argmax(heard > heard.max() / 2) * size / RATE)


def first_frame_time(path: Path) -> float:
    """Return when a film's picture begins."""
    done = subprocess.run(
        ["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries", "stream=start_time", "-of", "csv=p=0", path],
        check=True, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    return float(done.stdout)


def flash_time(path: Path) -> float:
    """Return when the film's flash is shown."""
    done = subprocess.run(
        ["ffprobe", "-v", "error", "-f", "lavfi", "-show_entries", "frame=pts_time:frame_tags=lavfi.signalstats.YAVG",
         "-of", "csv=p=0", f"movie={path},signalstats"],
        check=True, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    rows = [line.split(",")[:2] for line in done.stdout.split()]
    return float(max(rows, key=lambda row: float(row[1]))[0])


async def test_the_rest_steps_back_and_nothing_moves(film: Path, voice: Path, tmp_path: Path) -> None:
    """6 dB below a voice, also in its short pauses, and nothing elsewhere; as loud as asked; flash and click within a frame."""
    task = {"video_path": str(film), "voice_path": str(voice), "keep_original": True, "language": "de"}
    roots = (film.parent, voice.parent)
    async with NodeUnderTest(node, tmp_path, allowed_roots=roots) as under_test:
        result = await under_test.run("ffmpeg.mix_voice_over", task, wait_seconds=60)
    assert result.outcome == "completed", result.error
    path = result.file("video_path")
    samples = sound(path)
    away = level_db(samples, LOW, 0.5, 1.5)
    assert level_db(samples, LOW, 7.2, 7.8) == pytest.approx(away, abs=0.3)
    for start, end in ((4.1, 4.9), (5.05, 5.15), (5.3, 5.9)):
        assert away - level_db(samples, LOW, start, end) == pytest.approx(6.0, abs=0.5)
    assert result.output["loudness_lufs"] == pytest.approx(-16, abs=0.5)
    assert result.output["true_peak_db"] <= -1
    assert result.output["speaking_share"] == pytest.approx(2 / 8, abs=0.02)
    assert result.output["audio_tracks"] == 2
    assert flash_time(path) == pytest.approx(BEEP_SECONDS, abs=0.001)
    assert onset(samples, 1000) == pytest.approx(flash_time(path), abs=0.02)
    assert onset(samples, HIGH) == pytest.approx(4.0, abs=0.02)


@pytest.mark.slow
async def test_a_film_without_sound_gets_the_voice_alone(film: Path, voice: Path, tmp_path: Path) -> None:
    """There is nothing to step back; what does not fit into MP4 goes into MKV."""
    silent = tmp_path / "silent.webm"
    ffmpeg("-i", film, "-an", "-c:v", "libvpx", "-deadline", "realtime", silent)
    task = {"video_path": str(silent), "voice_path": str(voice)}
    async with NodeUnderTest(node, tmp_path, allowed_roots=(voice.parent,)) as under_test:
        result = await under_test.run("ffmpeg.mix_voice_over", task, wait_seconds=60)
    assert result.outcome == "completed", result.error
    assert result.file("video_path").suffix == ".mkv" and result.output["audio_tracks"] == 1
    # Matroska moves picture and sound alike by what AAC's encoder puts before the first sample.
    first = first_frame_time(result.file("video_path"))
    assert onset(sound(result.file("video_path")), HIGH) - first == pytest.approx(4.0, abs=0.005)


@pytest.mark.slow
async def test_what_is_given_as_background_takes_the_place_of_the_films_own_sound(
    film: Path, voice: Path, tmp_path: Path
) -> None:
    """The film's tone is gone, the background's is there at the level that it had beside it, and steps back under the voice."""
    background = tmp_path / "rest.flac"
    ffmpeg("-f", "lavfi", "-i", "aevalsrc='0.05*sin(2*PI*500*t)':s=44100:d=8", "-ac", 2, background)
    task = {
        "video_path": str(film),
        "voice_path": str(voice),
        "background_path": str(background),
        "duck_db": 12,
    }
    async with NodeUnderTest(node, tmp_path, allowed_roots=(film.parent, voice.parent)) as under_test:
        result = await under_test.run("ffmpeg.mix_voice_over", task, wait_seconds=60)
    assert result.outcome == "completed", result.error
    samples = sound(result.file("video_path"))
    away = level_db(samples, 500, 0.5, 1.5)
    assert level_db(samples, LOW, 0.5, 1.5) < away - 40
    assert away - level_db(samples, 500, 4.2, 4.8) == pytest.approx(12.0, abs=0.7)
    assert result.output["loudness_lufs"] == pytest.approx(-16, abs=0.5)


@pytest.mark.parametrize("field", ["video_path", "voice_path", "background_path"])
async def test_the_input_at_fault_is_named(film: Path, voice: Path, tmp_path: Path, field: str) -> None:
    """Of three media the one is named that is a picture, broken, or without what is needed of it; each cause has its code."""
    picture, broken, other = tmp_path / "still.png", tmp_path / "broken.mp4", voice
    ffmpeg("-f", "lavfi", "-i", "color=red:s=64x48", "-frames:v", "1", picture)
    broken.write_bytes(b"\0" * 5000)
    lacking = "NO_VIDEO_STREAM"
    if field != "video_path":
        other, lacking = tmp_path / "silent.mp4", "NO_AUDIO_STREAM"
        ffmpeg("-i", film, "-c", "copy", "-an", other)
    good = {"video_path": film, "voice_path": voice, "background_path": voice}
    roots = (film.parent, voice.parent, tmp_path)
    async with NodeUnderTest(node, tmp_path / "work", allowed_roots=roots) as under_test:
        for path, code in ((picture, "MEDIA_IS_PICTURE"), (broken, "MEDIA_UNREADABLE"), (other, lacking)):
            given = {name: str(place) for name, place in (good | {field: path}).items()}
            result = await under_test.run("ffmpeg.mix_voice_over", given, task_id=path.stem)
            assert (result.error.code, result.error.field) == (code, f"/{field}"), result.error
