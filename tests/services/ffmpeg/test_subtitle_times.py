"""Every shape of subtitle gives the same cues; what is no subtitle is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from media.faults import FaultCode, MediaFault
from services.ffmpeg.subtitle_times import Cue, load_cues

SRT = "1\n00:00:01,000 --> 00:00:02,500\n[SPEAKER_00] Hello <i>you</i>\n\n2\n00:00:03,000 --> 00:00:04,000\nNo name\n"
VTT = "WEBVTT\n\n00:01.000 --> 00:02.500\n<v SPEAKER_00>Hello you\n\n00:03.000 --> 00:04.000\nNo name\n"
ASS = """[Script Info]
ScriptType: v4.00+

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Comment: 0,0:00:00.00,0:00:01.00,Default,,0,0,0,,left out
Dialogue: 0,0:00:01.00,0:00:02.50,Default,SPEAKER_00,0,0,0,,Hello {\\i1}you
Dialogue: 0,0:00:03.00,0:00:04.00,Default,,0,0,0,,No name
"""
CUES = [Cue(1.0, 2.5, "Hello you", "SPEAKER_00"), Cue(3.0, 4.0, "No name")]


@pytest.mark.parametrize(("name", "text"), [("a.srt", SRT), ("a.vtt", VTT), ("a.ass", ASS)])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_text_formats(tmp_path: Path, name: str, text: str, encoding: str) -> None:
    """SRT, WebVTT and ASS in any Unicode encoding give the same cues, speakers found."""
    path = tmp_path / name
    path.write_bytes(text.encode(encoding))
    assert load_cues(path) == CUES


JSON_SHAPES: dict[str, Any] = {
    "transcript": {
        "metadata": {},
        "segments": [
            {"id": 0, "start": 1.0, "end": 2.5, "text": " Hello you", "speaker": "SPEAKER_00"},
            {"id": 1, "start": 3, "end": 4, "text": "No name", "words": []},
        ],
    },
    "merged": {
        "merged_segments": [
            {"start": 1.0, "end": 2.5, "text": "Hello you", "speaker": "SPEAKER_00"},
            {"start": 3.0, "end": 4.0, "text": "No name"},
        ]
    },
    "ocr": [
        {
            "id": 1,
            "startTime": 1.0,
            "endTime": 2.5,
            "text": "[SPEAKER_00] Hello you",
            "bbox": [],
            "frameRange": [1, 2],
        },
        {"id": 2, "startTime": 3.0, "endTime": 4.0, "text": "No name"},
    ],
    "clock texts": [
        {"start_time": "00:00:01,000", "end_time": "00:02.500", "text": "[SPEAKER_00] Hello you"},
        {"start_time": "0:00:03", "end_time": "00:00:04.0", "text": "No name"},
    ],
}


@pytest.mark.parametrize("shape", JSON_SHAPES)
def test_json_shapes(tmp_path: Path, shape: str) -> None:
    """The JSON of transcription, merge and OCR tasks gives the same cues."""
    path = tmp_path / "a.json"
    path.write_text(json.dumps(JSON_SHAPES[shape]))
    assert load_cues(path) == CUES


def test_diarization(tmp_path: Path) -> None:
    """A diarization file has speakers and no text; the report of a failed one is refused."""
    path = tmp_path / "d.json"
    path.write_text(
        json.dumps(
            {"success": True, "segments": [{"start": 0, "end": 2, "speaker": "SPEAKER_01", "duration": 2}]}
        )
    )
    assert load_cues(path) == [Cue(0, 2, "", "SPEAKER_01")]
    path.write_text(json.dumps({"success": False, "error": {"message": "no", "type": "x"}}))
    with pytest.raises(MediaFault) as caught:
        load_cues(path)
    assert caught.value.code is FaultCode.SUBTITLE_UNREADABLE


def test_words_and_confidence_are_kept(tmp_path: Path) -> None:
    """What split_info.json passes on survives the reading."""
    words = [{"word": "Hi", "start": 0.0, "end": 0.4, "probability": 0.9}]
    path = tmp_path / "a.json"
    path.write_text(
        json.dumps(
            {"segments": [{"start": 0, "end": 1, "text": "Hi", "words": words, "speaker_confidence": 0.7}]}
        )
    )
    cue = load_cues(path)[0]
    assert (cue.words, cue.confidence) == (tuple(words), 0.7)


def test_cues_are_ordered_and_whole(tmp_path: Path) -> None:
    """Cues come in order of time; one that ends before it starts is left out."""
    path = tmp_path / "a.json"
    path.write_text(json.dumps([{"start": 5, "end": 6}, {"start": 3, "end": 2}, {"start": 1, "end": 2}]))
    assert [(cue.start, cue.end) for cue in load_cues(path)] == [(1, 2), (5, 6)]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", FaultCode.SUBTITLE_EMPTY),
        (b" \n\n ", FaultCode.SUBTITLE_EMPTY),
        (b"[]", FaultCode.SUBTITLE_EMPTY),
        (b'{"segments": []}', FaultCode.SUBTITLE_EMPTY),
        (b"Just a letter.\nNothing else.", FaultCode.SUBTITLE_UNREADABLE),
        (b'{"segments": [', FaultCode.SUBTITLE_UNREADABLE),
        (b'{"pages": []}', FaultCode.SUBTITLE_UNREADABLE),
        (b'[{"start": "soon", "end": 2}]', FaultCode.SUBTITLE_UNREADABLE),
        (b'[{"start": true, "end": 2}]', FaultCode.SUBTITLE_UNREADABLE),
        (b'["a"]', FaultCode.SUBTITLE_UNREADABLE),
        (bytes(range(256)), FaultCode.SUBTITLE_UNREADABLE),
    ],
)
def test_bad_files(tmp_path: Path, content: bytes, code: FaultCode) -> None:
    """What cannot be read, or holds no cue, is told apart by its code."""
    path = tmp_path / "bad.srt"
    path.write_bytes(content)
    with pytest.raises(MediaFault) as caught:
        load_cues(path)
    assert caught.value.code is code
    assert "bad.srt" in caught.value.message


def test_legacy_encodings(shared_media: Path) -> None:
    """A subtitle in a code page of its time is read by name exactly, and without one with right times."""
    for name, encoding in (
        ("auto_detect_windows-1250.srt", "cp1250"),
        ("auto_detect_windows-1251.srt", "cp1251"),
    ):
        path = shared_media / "subs" / name
        named, guessed = load_cues(path, encoding), load_cues(path)
        assert [(cue.start, cue.end) for cue in named] == [(cue.start, cue.end) for cue in guessed]
        assert len(named) > 3
    with pytest.raises(MediaFault) as caught:
        load_cues(path, "utf-8")
    assert caught.value.code is FaultCode.SUBTITLE_UNREADABLE
