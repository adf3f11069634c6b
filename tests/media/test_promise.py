"""Films that were cut off on their way: whoever hears or looks is told, whatever the container."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from media.audio import AudioOptions, extract_audio
from media.probe import probe
from media.promise import Promise, promise_of
from tests.media.films import PICTURES, TONE, X264
from tests.media.local_runner import LocalRunner
from tests.media.measure import ffmpeg

BOTH = ("-f", "lavfi", "-i", PICTURES, "-f", "lavfi", "-i", TONE, *X264)


def cut(path: Path) -> Path:
    """Keep half of a file's bytes."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


@pytest.mark.parametrize(
    ("name", "codec", "says"),
    [
        ("half.mkv", "aac", "promises 4.0\\d\\d s and its sound ends at .*, or its pictures go on alone"),
        ("half.mp4", "aac", "promises 4.000 s of sound and holds"),
        ("half.mka", "pcm_s16le", "promises 4.000 s of sound and holds"),
        ("half.flac", "flac", "promises 4.000 s of sound and holds"),
    ],
)
async def test_half_a_recording_says_so(
    runner: LocalRunner, tmp_path: Path, name: str, codec: str, says: str
) -> None:
    """Half of the bytes give what sound they hold, with a line that says what is missing; all of them give no line."""
    path = tmp_path / name
    sound_alone = path.suffix in (".mka", ".flac")
    source = ("-f", "lavfi", "-i", TONE) if sound_alone else BOTH
    fast = ("-movflags", "+faststart") if path.suffix == ".mp4" else ()
    ffmpeg(*source, "-c:a", codec, *fast, path)
    whole = await extract_audio(runner, path, tmp_path / "whole.wav", AudioOptions())
    assert whole.warnings == ()
    half = await extract_audio(runner, cut(path), tmp_path / "half.wav", AudioOptions())
    [line] = [one for one in half.warnings if "promises" in one]

    assert re.search(says, line), line


async def test_a_track_that_begins_late_or_ends_a_little_early_is_whole(
    runner: LocalRunner, late_sound: Path, tmp_path: Path
) -> None:
    """Sound from 0.5 to 2.5 s of a film of 4 s may be what was meant, or cut off: the line says both. Of a second it is silent."""
    for keep in (True, False):
        taken = await extract_audio(runner, late_sound, tmp_path / "late.wav", AudioOptions(keep_offset=keep))
        assert "ends at 2.500 s" in taken.warnings[0]
    path = tmp_path / "nearly.mkv"
    ffmpeg("-f", "lavfi", "-i", PICTURES, "-itsoffset", "0.9", "-f", "lavfi", "-i", "sine=d=2.2", *X264, path)
    for keep in (True, False):
        taken = await extract_audio(runner, path, tmp_path / "nearly.wav", AudioOptions(keep_offset=keep))
        assert taken.warnings == ()


async def test_what_only_estimates_promises_nothing(runner: LocalRunner, tmp_path: Path) -> None:
    """The length in a transport stream's or an MP3's header is reckoned from sizes: no promise."""
    for name, codec in (("a.ts", "mp2"), ("a.mp3", "libmp3lame")):
        ffmpeg("-f", "lavfi", "-i", TONE, "-c:a", codec, tmp_path / name)
        facts = await probe(runner, tmp_path / name)
        assert promise_of(facts, facts.audio()) is None


def test_a_long_film_may_stand_still_at_its_end() -> None:
    """A twentieth of the pictures, or a second, may be missing; of a sound track half a second."""
    pictures, sound = Promise("f", "pictures", 100.0, True), Promise("f", "sound", 100.0, True)
    assert pictures.broken(95.1) is None and pictures.broken(94.9) is not None
    assert sound.broken(99.6) is None and sound.broken(99.4) is not None
