"""Sound that people really have: layouts that change, clocks that break, formats that promise nothing. Issue 10, point 15."""

from __future__ import annotations

import struct
import wave
from pathlib import Path

import numpy as np
import pytest

from media.faults import FaultCode, MediaFault
from services.ffmpeg.cuts import CutRules, SplitBy
from services.ffmpeg.segments import SplitOptions, split_audio
from services.ffmpeg.subtitle_times import Cue
from tests.media.local_runner import LocalRunner
from tests.media.measure import ffmpeg, samples
from tests.services.ffmpeg.people import (
    BEEP,
    BEEPS,
    FLASHES,
    X264,
    first_flash,
    joined,
    pictures_of,
    sound_of,
    times,
)

pytestmark = pytest.mark.slow

HALF_A_FRAME = 0.021


@pytest.mark.trial("10.15", row=1)
async def test_layout_changes_midway(tmp_path: Path) -> None:
    """A broadcast that goes from 5.1 to stereo is heard without a hole at the change, in every container."""
    tone = "0.5*sin(2*PI*1000*t)*lt(mod(t,1),0.1)"
    for name, rows, layout, rate in (
        ("p1", f"0|0|{tone}|0|0|0", "5.1", "384k"),
        ("p2", f"{tone}|{tone}", "stereo", "192k"),
    ):
        source = f"aevalsrc='{rows}':c={layout}:s=48000:d=5"
        ffmpeg("-f", "lavfi", "-i", source, "-c:a", "ac3", "-b:a", rate, tmp_path / f"{name}.ac3")
    sound = joined(tmp_path / "sw.ac3", tmp_path / "p1.ac3", tmp_path / "p2.ac3")
    pictures = ("-f", "lavfi", "-i", "testsrc2=s=64x36:r=25:d=10")
    for container in ("mkv", "ts"):
        ffmpeg(
            *pictures,
            "-i",
            sound,
            *X264,
            "-bf",
            "0",
            "-c:a",
            "copy",
            "-muxdelay",
            "0",
            tmp_path / f"sw.{container}",
        )
    for name in ("sw.ac3", "sw.mkv", "sw.ts"):
        taken, heard, seconds = await sound_of(tmp_path / name, tmp_path)
        assert seconds == pytest.approx(10.05, abs=0.04), name
        # A transport stream begins with its pictures, its sound may be a frame late.
        shift = taken.offset_seconds
        expected = [0.005 + shift + beep for beep in range(5)] + [5.028 + shift + beep for beep in range(5)]
        assert heard == pytest.approx(expected, abs=0.01), name
    cues = [Cue(6.9, 8.4)]
    split = await split_audio(
        LocalRunner(),
        tmp_path / "sw.mkv",
        cues,
        tmp_path,
        tmp_path / "whole",
        SplitOptions(CutRules(SplitBy.SEGMENTS)),
    )
    assert split.segments[0].file.rms_db is not None


@pytest.mark.trial("10.15", row=4)
async def test_joined_clocks(tmp_path: Path) -> None:
    """Two parts whose clocks both begin at 0 are heard one after the other, in step with their pictures."""
    part = tmp_path / "part.ts"
    ffmpeg(
        *("-f", "lavfi", "-i", FLASHES[-1].replace("d=6", "d=5")),
        *("-itsoffset", "0.2", "-f", "lavfi", "-i", BEEP.replace("d=6", "d=4.8")),
        *(*X264, "-bf", "0", "-c:a", "mp2", "-muxdelay", "0", part),
    )
    both = joined(tmp_path / "both.ts", part, part)
    taken, heard, seconds = await sound_of(both, tmp_path)
    assert seconds == pytest.approx(10.0, abs=0.1)
    assert heard == pytest.approx([1.2, 2.2, 3.2, 4.2, 6.2, 7.2, 8.2, 9.2], abs=0.06)
    assert any("clock" in line for line in taken.warnings)
    shown = await pictures_of(both, tmp_path, count=10)
    assert times(shown) == pytest.approx(range(10), abs=0.05)
    rules = CutRules(SplitBy.FIXED, fixed_seconds=5)
    folder = tmp_path / "parts"
    folder.mkdir()
    split = await split_audio(LocalRunner(), both, [], folder, tmp_path / "whole", SplitOptions(rules))
    assert len(split.written) == 2


@pytest.mark.trial("10.15", row=5)
async def test_clock_jumps_forward(tmp_path: Path) -> None:
    """After a jump of the clock flash and beep are at the same time, and pictures are taken from all of the film."""
    parts = []
    for name, offset in (("j1.ts", "0"), ("j2.ts", "46")):
        ffmpeg(
            *FLASHES, *BEEPS, *X264, "-bf", "2", "-c:a", "mp2", "-output_ts_offset", offset, tmp_path / name
        )
        parts.append(tmp_path / name)
    jump = joined(tmp_path / "jump.ts", *parts)
    taken, heard, seconds = await sound_of(jump, tmp_path)
    assert len(heard) == 10
    assert seconds == pytest.approx(12.0, abs=0.1)
    assert not any("promises" in line for line in taken.warnings)
    shown = await pictures_of(jump, tmp_path, count=10_000, max_width=32)
    white = [
        one
        for one, before in zip(shown.frames[1:], shown.frames, strict=False)
        if is_white(one.path) > is_white(before.path)
    ]
    assert [one.pts_seconds for one in white] == pytest.approx(heard, abs=0.05)
    few = times(await pictures_of(jump, tmp_path, count=6))
    assert few == pytest.approx([0, 2, 4, 6, 8, 10], abs=0.1)


def is_white(path: Path) -> bool:
    """Whether a picture is bright."""
    from tests.services.ffmpeg.people import colour

    return min(colour(path)) > 128


@pytest.mark.trial("10.15", row=6)
async def test_stream_from_zero_with_late_sound(tmp_path: Path) -> None:
    """A stream whose clock starts at exactly 0 keeps the half second by which its sound is late; the pictures likewise."""
    late = tmp_path / "late_aac.ts"
    ffmpeg(
        *(*FLASHES, "-itsoffset", "0.5", "-f", "lavfi", "-i", f"{BEEP},atrim=start=0.5,asetpts=PTS-STARTPTS"),
        *(*X264, "-bf", "0", "-c:a", "aac", "-muxdelay", "0", late),
    )
    taken, heard, seconds = await sound_of(late, tmp_path)
    assert heard == pytest.approx([1, 2, 3, 4, 5], abs=HALF_A_FRAME)
    assert seconds == pytest.approx(6.0, abs=0.03)
    assert taken.offset_seconds == pytest.approx(0.477, abs=0.002)
    pictures_late = tmp_path / "late_picture.ts"
    ffmpeg(
        *(*BEEPS, "-itsoffset", "0.5", *FLASHES, "-map", "1:v", "-map", "0:a"),
        *(*X264, "-bf", "0", "-c:a", "aac", "-muxdelay", "0", pictures_late),
    )
    shown = await pictures_of(pictures_late, tmp_path, mode="timestamps", timestamps=(1.6, 2.6))
    assert times(shown) == pytest.approx([1.6, 2.6], abs=0.05)
    _, heard, _ = await sound_of(pictures_late, tmp_path)
    assert await first_flash(pictures_late, tmp_path) == pytest.approx(heard[0] + 0.5, abs=0.05)


@pytest.mark.trial("10.15", row=14)
@pytest.mark.parametrize(("channels", "spoken"), [(3, 2), (4, 1), (6, 3), (8, 3), (10, 9), (16, 9)])
async def test_one_microphone_per_channel(tmp_path: Path, channels: int, spoken: int) -> None:
    """A voice in any one channel of a file that names no places is heard in mono."""
    tone = (0.5 * 32767 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)).astype("<i2")
    frames = np.zeros((16_000, channels), "<i2")
    frames[:, spoken] = tone
    source = tmp_path / "microphones.wav"
    with wave.open(str(source), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(frames.tobytes())
    taken, _, seconds = await sound_of(source, tmp_path)
    assert seconds == pytest.approx(1.0, abs=0.001)
    assert taken.levels.rms_db is not None and taken.levels.rms_db > -36
    heard = samples(tmp_path / "microphones.wav.wav").astype(float)
    assert int(np.argmax(np.abs(np.fft.rfft(heard)))) == 440
    assert taken.warnings == ()


@pytest.mark.trial("10.15", row=15)
async def test_rate_that_varies_without_a_header(tmp_path: Path) -> None:
    """An MP3 of varying rate that does not tell its length promises nothing, and a span of it is that of the clock."""
    for name, quiet in (("loud_late.mp3", "lt(t,20)"), ("loud_early.mp3", "gt(t,20)")):
        noise = f"aevalsrc='if({quiet},0,0.5*random(0)-0.25)':s=44100:d=60"
        options = ("-c:a", "libmp3lame", "-q:a", "4", "-write_xing", "0", "-id3v2_version", "0")
        ffmpeg("-f", "lavfi", "-i", noise, *options, tmp_path / name)
        taken, _, seconds = await sound_of(tmp_path / name, tmp_path)
        assert seconds == pytest.approx(60.03, abs=0.06)
        assert taken.warnings == ()
        part, _, seconds = await sound_of(tmp_path / name, tmp_path, start_seconds=50.0, end_seconds=55.0)
        assert seconds == pytest.approx(5.0, abs=0.001)
        assert (part.levels.rms_db is None or part.levels.rms_db < -80) == (name == "loud_early.mp3")
        with pytest.raises(MediaFault) as caught:
            await sound_of(tmp_path / name, tmp_path, start_seconds=70.0)
        assert caught.value.code is FaultCode.RANGE_OUTSIDE_MEDIA


@pytest.mark.trial("10.15", row=19)
async def test_header_without_sound(tmp_path: Path) -> None:
    """A WAV of a header alone holds no sound; nobody asked for a span of it."""
    empty = tmp_path / "empty.wav"
    head = struct.pack("<4sI4s4sIHHIIHH", b"RIFF", 36, b"WAVE", b"fmt ", 16, 1, 1, 16_000, 32_000, 2, 16)
    empty.write_bytes(head + struct.pack("<4sI", b"data", 0))
    with pytest.raises(MediaFault) as caught:
        await sound_of(empty, tmp_path)
    assert caught.value.code is FaultCode.OUTPUT_EMPTY


@pytest.mark.trial("10.15", row=20)
async def test_damage_in_the_middle(tmp_path: Path) -> None:
    """A film whose middle is noise is told to be damaged, by its sound and by its pictures; what is whole stays at its time."""
    film = tmp_path / "whole.mp4"
    ffmpeg(*FLASHES, *BEEPS, *X264, "-g", "25", "-c:a", "aac", "-movflags", "+faststart", film)
    body = bytearray(film.read_bytes())
    first, last = int(len(body) * 0.45), int(len(body) * 0.6)
    body[first:last] = np.random.default_rng(7).bytes(last - first)
    corrupt = tmp_path / "corrupt.mp4"
    corrupt.write_bytes(body)
    taken, heard, seconds = await sound_of(corrupt, tmp_path)
    assert any("damaged" in line for line in taken.warnings)
    assert seconds == pytest.approx(6.0, abs=0.1)
    assert {1.0, 5.0} <= {round(beep, 1) for beep in heard}
    shown = await pictures_of(corrupt, tmp_path, count=10_000, max_width=32)
    assert any("damaged" in line for line in shown.warnings)


@pytest.mark.trial("10.15", row=21)
async def test_first_track_of_an_unknown_codec(tmp_path: Path) -> None:
    """Where nobody reads the first sound track the second is taken and this is said; asked for by number it is refused."""
    base = tmp_path / "base.mp4"
    ffmpeg(*FLASHES, *BEEPS, "-map", "0:v", "-map", "1:a", "-map", "1:a", *X264, "-c:a", "aac", base)
    body = base.read_bytes()
    place = body.index(b"moov")
    moov = body[place:].replace(b"mp4a", b"apac", 1).replace(b"esds", b"dapa", 1)
    film = tmp_path / "two.mp4"
    film.write_bytes(body[:place] + moov)
    taken, heard, _ = await sound_of(film, tmp_path)
    assert (taken.stream.index, len(heard)) == (2, 5)
    assert any("first audio stream" in line for line in taken.warnings)
    with pytest.raises(MediaFault) as caught:
        await sound_of(film, tmp_path, stream_index=1)
    assert caught.value.code is FaultCode.CODEC_UNSUPPORTED


@pytest.mark.trial("10.15", row=22)
@pytest.mark.parametrize("codec", ["aac", "ac3"])
async def test_encrypted_film(tmp_path: Path, codec: str) -> None:
    """A film that is encrypted is told to be: no noise, no silence, no talk of damage."""
    film = tmp_path / "cenc.mp4"
    keys = (
        "-encryption_key",
        "76a6c65c5ea762046bd749a2e632ccbb",
        "-encryption_kid",
        "a7e61c373e219033c21091fa607bf3b8",
    )
    ffmpeg(*FLASHES, *BEEPS, *X264, "-c:a", codec, "-encryption_scheme", "cenc-aes-ctr", *keys, film)
    for take in (sound_of, pictures_of):
        with pytest.raises(MediaFault, match="encrypted") as caught:
            await take(film, tmp_path)
        assert caught.value.code is FaultCode.MEDIA_ENCRYPTED
