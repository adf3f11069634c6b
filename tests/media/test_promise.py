"""Films that were cut off on their way: whoever hears or looks is told, whatever the container."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from media.audio import AudioOptions, extract_audio
from media.packets import last_packet_end
from media.probe import AudioStream, MediaFacts, VideoStream, probe
from media.promise import cut_off
from media.promised_bytes import bytes_of
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
        ("half.mkv", "aac", "promises 4.0\\d\\d s and holds [12].* s: it is cut off"),
        ("half.mp4", "aac", "promises 4.000 s of sound and holds"),
        ("half.mka", "pcm_s16le", "promises 4.000 s and holds [12].* s: it is cut off"),
        ("half.flac", "flac", "promises 4.000 s and holds [12].* s: it is cut off"),
        ("half.wav", "pcm_s16le", "promises \\d+ bytes and has"),
        ("half.mp3", "libmp3lame", "promises \\d+ bytes and has"),
        ("half.avi", "mp3", "promises \\d+ bytes and has"),
    ],
)
async def test_half_a_recording_says_so(
    runner: LocalRunner, tmp_path: Path, name: str, codec: str, says: str
) -> None:
    """Half of the bytes give what sound they hold, with a line that says what is missing; all of them give no line."""
    path = tmp_path / name
    sound_alone = path.suffix in (".mka", ".flac", ".wav", ".mp3")
    source = ("-f", "lavfi", "-i", TONE) if sound_alone else BOTH
    fast = ("-movflags", "+faststart") if path.suffix == ".mp4" else ()
    ffmpeg(*source, "-c:a", codec, *fast, path)
    whole = await extract_audio(runner, path, tmp_path / "whole.wav", AudioOptions())
    assert whole.warnings == ()
    half = await extract_audio(runner, cut(path), tmp_path / "left.wav", AudioOptions())
    [line] = [one for one in half.warnings if "promises" in one]
    assert re.search(says, line), line


async def test_one_track_may_go_on_alone(runner: LocalRunner, late_sound: Path, tmp_path: Path) -> None:
    """Sound from 0.5 to 2.5 s of a film of 4 s is all that there is: no line, whoever keeps its place on the clock."""
    for keep in (True, False):
        taken = await extract_audio(runner, late_sound, tmp_path / "late.wav", AudioOptions(keep_offset=keep))
        assert taken.warnings == ()


async def test_one_track_of_two_is_not_the_file(runner: LocalRunner, tmp_path: Path) -> None:
    """Of two recordings in one Matroska the shorter is whole where it ends: no line."""
    path = tmp_path / "two.mka"
    ffmpeg("-f", "lavfi", "-i", TONE, "-f", "lavfi", "-t", "2", "-i", TONE, "-map", "1", "-map", "0", path)
    assert (await extract_audio(runner, path, tmp_path / "a.wav", AudioOptions())).warnings == ()


async def test_an_mp3_behind_its_cover(runner: LocalRunner, tmp_path: Path) -> None:
    """How much there is to be heard is counted from behind the tags that come before it."""
    path = tmp_path / "a.mp3"
    ffmpeg("-f", "lavfi", "-i", TONE, "-metadata", "comment=" + 5_000 * "x", path)
    assert (await extract_audio(runner, path, tmp_path / "a.wav", AudioOptions())).warnings == ()
    size = bytes_of(path)
    assert size.written == size.there
    half = await extract_audio(runner, cut(path), tmp_path / "left.wav", AudioOptions())
    assert any(f"promises {size.there} bytes" in line for line in half.warnings)


async def test_what_is_not_known_when_it_is_written_promises_nothing(
    runner: LocalRunner, tmp_path: Path
) -> None:
    """A WAV that was written into a pipe says no true length; nor do bytes that only begin as a header does."""
    path = tmp_path / "a.wav"
    path.write_bytes(ffmpeg("-f", "lavfi", "-i", TONE, "-f", "wav", "-"))
    assert bytes_of(path).written is None
    assert (await extract_audio(runner, path, tmp_path / "b.wav", AudioOptions())).warnings == ()
    for head in (
        b"RIFF",
        b"RIFF\x00\x00",
        b"ID3",
        b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f",
        b"\xff\xfbXing",
        b"\xff\xfbInfo" + 12 * b"\x00",
    ):
        path.write_bytes(head)
        assert bytes_of(path).missing_seconds(1.0) == 0.0


async def test_what_only_estimates_promises_nothing(runner: LocalRunner, tmp_path: Path) -> None:
    """What a transport stream, or an MP3 without its first frame, says is reckoned from sizes: no line, however little there is."""
    for name, codec in (("a.ts", ("mp2",)), ("a.mp3", ("libmp3lame", "-write_xing", "0"))):
        ffmpeg("-f", "lavfi", "-i", TONE, "-c:a", *codec, tmp_path / name)
        facts = await probe(runner, tmp_path / name)
        assert await cut_off(runner, tmp_path / name, facts, facts.audio(), 1.0) == ()


async def test_how_much_may_be_missing(runner: LocalRunner, film: Path) -> None:
    """Of a film of 100 s five seconds of pictures, of one of 4 s one; of either's sound half a second."""
    short = await probe(runner, film)
    long_film = replace(short, videos=(replace(short.video(), duration_seconds=100.0),))
    cases: tuple[tuple[MediaFacts, VideoStream | AudioStream, float], ...] = (
        (short, short.video(), 3.0),
        (short, short.audio(), 3.5),
        (long_film, long_film.video(), 95.0),
    )
    for facts, stream, least in cases:
        promised = stream.duration_seconds or 0.0
        least += promised - round(promised)
        assert await cut_off(runner, film, facts, stream, least + 0.01) == ()
        [line] = await cut_off(runner, film, facts, stream, least - 0.01)
        assert "cut off or damaged" in line


@pytest.mark.parametrize("codec", ["-an", "aac"])
async def test_what_is_missing_of_a_long_film_counts_in_seconds(
    runner: LocalRunner, tmp_path: Path, codec: str
) -> None:
    """The last few of a hundred seconds are a small part of Matroska and yet told: its length ends with its last packet."""
    path = tmp_path / "long.mkv"
    sound = ("-f", "lavfi", "-i", "sine=d=100", "-c:a", codec) if codec != "-an" else ()
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x36:r=5:d=100", *sound, "-c:v", "mpeg4", path)
    facts = await probe(runner, path)
    ends = await last_packet_end(runner, path, facts.video().index)
    assert await cut_off(runner, path, facts, facts.video(), ends) == ()
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 97 // 100])
    held = await last_packet_end(runner, path, facts.video().index)
    assert 95 < held < 98.5
    [line] = await cut_off(runner, path, facts, facts.video(), held)
    assert "cut off or damaged" in line
