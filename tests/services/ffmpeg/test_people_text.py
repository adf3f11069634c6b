"""Subtitles that people really have. Issue 10, point 15."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from media.audio import ExtractedAudio
from media.pcm import Levels
from media.probe import AudioStream
from services.ffmpeg.cuts import CutRules
from services.ffmpeg.segment_files import Recording, cut_recording
from services.ffmpeg.segments import Split, SplitOptions
from services.ffmpeg.split_info import split_info
from services.ffmpeg.subtitle_times import Cue, load_cues
from subtitles.reading import parse_text


def cues_of(folder: Path, name: str, text: str) -> list[Cue]:
    """Read a subtitle file."""
    (folder / name).write_text(text)
    return load_cues(folder / name)


@pytest.mark.trial("10.15", row=16)
def test_times_past_a_hundred_hours_and_before_zero(tmp_path: Path) -> None:
    """Hours of three digits are hours, and what is behind the end is told so; a cue from before the film begins with it."""
    late = "1\n100:00:01,000 --> 100:00:03,000\nlate\n\n2\n-00:00:01,000 --> 00:00:02,500\nearly\n"
    cues = cues_of(tmp_path, "a.srt", late)
    assert [(cue.start, cue.end) for cue in cues] == [(0.0, 2.5), (360_001.0, 360_003.0)]
    (tmp_path / "raw").write_bytes(np.zeros(16_000 * 4, "<i2").tobytes())
    plan, files = cut_recording(Recording(tmp_path / "raw", 16_000, 1), cues, CutRules(), False, tmp_path)
    assert [(file.cut.start, file.cut.end) for file in files] == [(0.0, 2.5)]
    sound = ExtractedAudio(
        AudioStream(0, "pcm_s16le", 16_000, 1, None, 0.0, 4.0), Levels(64_000, 0.0, None), 0.0, ()
    )
    split = Split(sound, plan, (), 0.1)
    info = split_info(split, SplitOptions(CutRules()), tmp_path, "x/", datetime.now(UTC))
    assert [failure["reason"] for failure in info["failures"]] == ["behind the end"]


@pytest.mark.trial("10.15", row=17)
def test_automatic_captions(tmp_path: Path) -> None:
    """The captions that a video site makes begin with a line of one blank and time each word inside the text."""
    captions = (
        "WEBVTT\n\n00:00:01.000 --> 00:00:02.500 align:start position:0%\n \nand<00:00:01.300><c> so</c>\n\n"
        "00:00:02.510 --> 00:00:04.250\nand so\nfellow<00:00:03.000><c> americans</c>\n"
    )
    expected = ["and so", "and so\nfellow americans"]
    assert [cue.text for cue in cues_of(tmp_path, "a.vtt", captions)] == expected
    assert [cue.text for cue in cues_of(tmp_path, "b.vtt", captions.replace("\n", "\r\n"))] == expected
    assert [cue.text for cue in parse_text(captions)] == expected


@pytest.mark.trial("10.15", row=23)
def test_sounds_in_brackets_are_text(tmp_path: Path) -> None:
    """`[Music]` and `[door slams] Hello` are what is shown, and nobody's name; names that every cue has are speakers."""

    def srt(*texts: str) -> str:
        return "\n".join(
            f"{n}\n00:00:0{n},000 --> 00:00:0{n},900\n{text}\n" for n, text in enumerate(texts, 1)
        )

    heard = ("[Music]", "[door slams] Hello", "Hi")
    for cues in (cues_of(tmp_path, "a.srt", srt(*heard)), parse_text(srt(*heard))):
        assert [(cue.speaker, cue.text) for cue in cues] == [(None, text) for text in heard]
    assert [cue.speaker for cue in cues_of(tmp_path, "m.srt", srt("[Music]"))] == [None]
    labelled = cues_of(tmp_path, "b.srt", srt("[SPEAKER_00] Hello", "[Music]", "[SPEAKER_01] Hi"))
    assert [cue.speaker for cue in labelled] == ["SPEAKER_00", None, "SPEAKER_01"]
    named = cues_of(tmp_path, "c.srt", srt("[Ann] Hello", "[Bob] Hi"))
    assert [(cue.speaker, cue.text) for cue in named] == [("Ann", "Hello"), ("Bob", "Hi")]
    entries = [{"start": 0, "end": 1, "text": "[Music]"}, {"start": 1, "end": 2, "text": "[SPEAKER_00] Hi"}]
    read = cues_of(tmp_path, "d.json", json.dumps(entries))
    assert [(cue.speaker, cue.text) for cue in read] == [(None, "[Music]"), ("SPEAKER_00", "Hi")]
