"""The tasks over real gRPC: typed input, stored files, the origin's field names, clear failures."""

from __future__ import annotations

import json
import subprocess
import wave
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from nodekit.testkit import NodeUnderTest, TaskResult
from runtime.errors import InvalidInput
from services.subtitle.node import node
from subtitles.cue import Cue
from subtitles.reading import parse_text
from subtitles.writing import to_srt

TEXT = "And so, my fellow Americans: ask not what your country can do for you, ask what you can do for your country."
WORDS = [
    {"word": f" {word}", "start": n * 0.4, "end": n * 0.4 + 0.35, "probability": 0.9}
    for n, word in enumerate(TEXT.split())
]
SEGMENTS = [
    {"start": 0.0, "end": WORDS[9]["end"], "text": " ".join(TEXT.split()[:10]), "words": WORDS[:10]},
    {
        "start": WORDS[10]["start"],
        "end": WORDS[-1]["end"],
        "text": " ".join(TEXT.split()[10:]),
        "words": WORDS[10:],
    },
]
NUMBERS = count(1)
SPEAKERS = [
    {"start": 0.0, "end": 2.0, "speaker": "SPEAKER_00"},
    {"start": 2.1, "end": 9.0, "speaker": "SPEAKER_01"},
]


@pytest.fixture
async def subtitle_node(tmp_path: Path) -> AsyncIterator[NodeUnderTest]:
    """A replica of the node."""
    async with NodeUnderTest(node, tmp_path) as under_test:
        yield under_test


async def completed(under_test: NodeUnderTest, task: str, **task_input: Any) -> TaskResult:
    """Run a task that must succeed."""
    result = await under_test.run(f"wservice.{task}", task_input, task_id=f"t{next(NUMBERS)}")
    assert result.outcome == "completed", result.error
    return result


async def failed(under_test: NodeUnderTest, task: str, **task_input: Any) -> tuple[str, str]:
    """Run a task that must fail; gives code and field."""
    result = await under_test.run(f"wservice.{task}", task_input, task_id=f"t{next(NUMBERS)}")
    assert result.outcome == "failed", result.output
    return result.error.code, result.error.field


def written(path: Path, content: Any) -> str:
    """Write a file, as JSON unless it is text, and give its path."""
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return str(path)


def letters(text: str) -> str:
    return "".join(text.split())


async def test_a_transcript_becomes_every_file(subtitle_node: NodeUnderTest, tmp_path: Path) -> None:
    """All forms are there, say the same, and read back; the origin's names and the documents' are both filled."""
    source = written(tmp_path / "jfk.json", {"segments": SEGMENTS})
    speakers = written(tmp_path / "who.json", {"speaker_enhanced_segments": SPEAKERS})
    result = await completed(
        subtitle_node,
        "generate_subtitle_files",
        segments_file=source,
        diarization_file=speakers,
        formats=["srt", "vtt", "ass", "ttml", "lrc", "txt", "json"],
        language="en",
        karaoke=True,
    )
    files = result.output["subtitle_files"]
    assert set(files) >= {
        "basic",
        "with_speakers",
        "word_timestamps",
        "json",
        "vtt",
        "ass",
        "ttml",
        "lrc",
        "txt",
    }
    assert result.output["subtitle_path"] == files["basic"]
    assert result.file("subtitle_path").name == "jfk.srt"
    for form in ("basic", "vtt", "ttml"):
        cues = parse_text((result.root / files[form]).read_text())
        assert letters("".join(cue.plain for cue in cues)) == letters(TEXT)
    with_speakers = parse_text((result.root / result.output["speaker_srt_path"]).read_text())
    assert with_speakers[0].speaker == "SPEAKER_00"
    assert {cue.speaker for cue in with_speakers} == {"SPEAKER_00", "SPEAKER_01"}
    document = json.loads(result.file("json_path").read_text())
    assert (document["format"], document["version"]) == ("yivideo_subtitle", "1.0")
    assert document["metadata"]["has_word_timestamps"] is True
    timed = json.loads((result.root / files["word_timestamps"]).read_text())
    assert timed["segments"][0]["words"][0]["word"].strip() == "And"
    assert "\\kf" in (result.root / files["ass"]).read_text()
    assert result.output["violations_after"] == {}


async def test_segments_can_be_kept_as_they_are(subtitle_node: NodeUnderTest) -> None:
    """Without resegmenting each segment is a cue, and the report says what is wrong with that."""
    result = await completed(
        subtitle_node, "generate_subtitle_files", segments_data=SEGMENTS, resegment=False
    )
    assert result.output["total_cues"] == 2
    assert "line_too_long" in result.output["violations_after"]
    assert result.output["speaker_srt_path"] is None


async def test_merges_over_the_wire(subtitle_node: NodeUnderTest) -> None:
    """The three merges take data or files and give file and inline list alike."""
    both = {"segments_data": SEGMENTS, "speaker_segments_data": SPEAKERS}
    by_segment = await completed(subtitle_node, "merge_speaker_segments", **both)
    assert by_segment.output["input_summary"] == {
        "transcript_segments_count": 2,
        "speaker_segments_count": 2,
        "merged_segments_count": 3,
        "data_source": "segments_data",
    }
    rows = json.loads(by_segment.file("merged_segments_file").read_text())["merged_segments"]
    assert rows == by_segment.output["merged_segments"]
    assert set(rows[0]) >= {"start", "end", "text", "speaker", "speaker_confidence"}
    by_word = await completed(subtitle_node, "merge_with_word_timestamps", **both)
    assert [row["speaker_confidence"] for row in by_word.output["merged_segments"]] == [1.0, 1.0, 1.0]
    by_turn = await completed(subtitle_node, "merge_speaker_based_subtitles", **both)
    assert (
        by_turn.output["total_segments"],
        by_turn.output["matched_segments"],
        by_turn.output["empty_segments"],
    ) == (2, 2, 0)
    turn = json.loads(by_turn.file("merged_segments_file").read_text())["merged_segments"][0]
    assert set(turn["match_quality"]) == {
        "matched_words", "total_words_in_range", "coverage_ratio", "partial_overlaps", "full_matches",
    }  # fmt: skip


async def test_speech_segments_are_numbered_from_one(subtitle_node: NodeUnderTest) -> None:
    """Prepared segments have the fields that speech tasks read."""
    merged = await completed(
        subtitle_node, "merge_speaker_segments", segments_data=SEGMENTS, speaker_segments_data=SPEAKERS
    )
    result = await completed(
        subtitle_node,
        "prepare_tts_segments",
        merged_segments=merged.output["merged_segments"],
        rule="keep_words",
    )
    rows = result.output["prepared_segments"]
    assert [row["id"] for row in rows] == list(range(1, len(rows) + 1))
    assert set(rows[0]) >= {"id", "start", "end", "duration", "text", "speaker", "words"}
    assert letters("".join(row["text"] for row in rows)) == letters(TEXT)
    assert result.output["source_stage"] == "merged_segments"


async def test_a_text_is_cut_into_lines(subtitle_node: NodeUnderTest, tmp_path: Path) -> None:
    """With words the lines are timed SRT, from a JSON file by JMESPath too; without they are text."""
    timed = await completed(
        subtitle_node,
        "segment_subtitles",
        subtitle_text=TEXT,
        words=[{"text": row["word"], "start": row["start"], "end": row["end"]} for row in WORDS],
    )
    cues = parse_text(timed.file("segmented_subtitle_file").read_text())
    assert letters("".join(cue.plain for cue in cues)) == letters(TEXT)
    assert cues[0].start == 0.0 and cues[-1].end == pytest.approx(WORDS[-1]["end"], abs=0.01)
    path = written(tmp_path / "asr.json", {"result": {"text": TEXT, "words": WORDS}})
    queried = await completed(
        subtitle_node,
        "segment_subtitles",
        subtitle_file=path,
        text_json_path="result.text",
        words_json_path="result.words",
    )
    assert queried.output["statistics"] == timed.output["statistics"]
    plain = await completed(subtitle_node, "segment_subtitles", subtitle_text=TEXT, max_chars=20)
    statistics = plain.output["statistics"]
    assert statistics["character_limit"] == {"max_allowed": 20, "compliance_rate": 1.0, "over_limit_count": 0}
    assert statistics["has_timestamps"] is False


async def test_a_corrected_text_is_rebuilt(subtitle_node: NodeUnderTest) -> None:
    """The corrected text comes back in segments within the origin's limits; a foreign text is refused."""
    corrected = TEXT.replace("for your country", "for our great country")
    result = await completed(
        subtitle_node,
        "rebuild_subtitle_with_words",
        segments_data=SEGMENTS,
        optimized_text=corrected,
        report=True,
    )
    rows = json.loads(result.file("optimized_segments_file").read_text())["segments"]
    assert letters("".join(row["text"] for row in rows)) == letters(corrected)
    assert all(len(line) <= 42 for row in rows for line in row["text"].split("\n"))
    assert result.output["alignment_ratio"] > 0.9
    assert await failed(
        subtitle_node,
        "rebuild_subtitle_with_words",
        segments_data=SEGMENTS,
        optimized_text="Something else entirely was said here by nobody at all.",
    ) == ("ALIGNMENT_TOO_WEAK", "/optimized_text")


async def test_a_damaged_file_is_mended(subtitle_node: NodeUnderTest, tmp_path: Path) -> None:
    """An old code page with reversed and overlapping times comes out as valid UTF-8, with a report of each change."""
    path = tmp_path / "film.srt"
    path.write_bytes(
        "1\r\n00:00:05,000 --> 00:00:04,000\r\nГде ты был вчера вечером?\r\n\r\n"
        "2\r\n00:00:08,000 --> 00:00:12,000\r\nЯ был дома.\r\n\r\n"
        "3\r\n00:00:11,000 --> 00:00:14,000\r\nНе верю.\r\n".encode("cp1251")
    )
    result = await completed(subtitle_node, "fix_subtitles", subtitle_path=str(path))
    assert result.output["encoding"] == "cp1251"
    assert result.output["changes"] == {"no_duration": 1, "overlap": 1}
    assert set(result.output["violations_before"]) >= {"overlap", "not_after_start"}
    assert result.output["violations_after"] == {}
    assert result.file("fixed_subtitle_path").name == "film_fixed.srt"
    report = json.loads(result.file("report_path").read_text())
    assert [change["kind"] for change in report["changes"]] == ["no_duration", "overlap"]


async def test_forms_and_frame_rates_are_converted(subtitle_node: NodeUnderTest, tmp_path: Path) -> None:
    """One file in several forms, made for 25 frames a second and shown at 23.976."""
    path = written(tmp_path / "a.srt", "1\n00:01:40,000 --> 00:01:42,000\nHello\n")
    result = await completed(
        subtitle_node,
        "convert_subtitles",
        subtitle_path=path,
        output_formats=["vtt", "ass", "json"],
        source_fps=25.0,
        target_fps=23.976,
    )
    assert set(result.output["subtitle_files"]) == {"vtt", "ass", "json"}
    (cue,) = parse_text(result.file("subtitle_path").read_text())
    assert cue.start == 104.271


async def test_two_files_are_compared(subtitle_node: NodeUnderTest, tmp_path: Path) -> None:
    """What users get is what our own quality runs count."""
    right = written(
        tmp_path / "right.srt",
        "1\n00:00:01,000 --> 00:00:02,000\nHello there\n\n2\n00:00:03,000 --> 00:00:04,000\nBye\n",
    )
    judged = written(tmp_path / "judged.vtt", "WEBVTT\n\n00:01.100 --> 00:02.000\nhello their\n")
    result = await completed(subtitle_node, "compare_subtitles", reference_path=right, subtitle_path=judged)
    scores = {key: result.output[key] for key in ("matched", "exact", "missed", "phantom", "start_error_p50")}
    assert scores == {"matched": 1, "exact": 0, "missed": 1, "phantom": 0, "start_error_p50": 0.1}
    assert json.loads(result.file("report_path").read_text())["missed_cues"][0]["text"] == "Bye"


@pytest.mark.parametrize(
    ("task", "task_input", "expected"),
    [
        ("generate_subtitle_files", {}, ("NO_DATA_SOURCE", "/segments_file")),
        ("generate_subtitle_files", {"segments_data": []}, ("SUBTITLE_EMPTY", "/segments_data")),
        ("generate_subtitle_files", {"segments_data": [{"text": "x"}]}, ("SUBTITLE_UNREADABLE", "/segments_data")),
        ("merge_speaker_segments", {"segments_data": SEGMENTS}, ("NO_DATA_SOURCE", "/diarization_file")),
        ("merge_speaker_segments", {"segments_data": SEGMENTS, "speaker_segments_data": []},
         ("SPEAKERS_EMPTY", "/speaker_segments_data")),
        ("merge_with_word_timestamps",
         {"segments_data": [{"start": 0, "end": 1, "text": "x"}], "speaker_segments_data": SPEAKERS},
         ("NO_WORD_TIMES", "/segments_data")),
        ("prepare_tts_segments", {}, ("NO_DATA_SOURCE", "/segments_file")),
        ("segment_subtitles", {"subtitle_text": "  "}, ("SUBTITLE_EMPTY", "/subtitle_text")),
    ],
)  # fmt: skip
async def test_what_cannot_be_done_says_why_and_where(
    subtitle_node: NodeUnderTest, task: str, task_input: dict[str, Any], expected: tuple[str, str]
) -> None:
    """Each failure has its own stable code and names the field."""
    assert await failed(subtitle_node, task, **task_input) == expected


async def test_files_may_be_called_anything(subtitle_node: NodeUnderTest) -> None:
    """A name as long as is allowed, in any script, is one that all files of a task can have."""
    name = "\u00e9\U0001f600" * 100
    result = await completed(
        subtitle_node, "generate_subtitle_files", segments_data=SEGMENTS, output_filename=name
    )
    assert result.output["subtitle_path"].rpartition("/")[2].startswith("\u00e9")


async def test_a_picture_is_no_subtitle(subtitle_node: NodeUnderTest, tmp_path: Path) -> None:
    """Bytes of something else are refused, whatever the name says."""
    path = tmp_path / "photo.srt"
    path.write_bytes(bytes(range(256)) * 40)
    assert await failed(subtitle_node, "fix_subtitles", subtitle_path=str(path)) == (
        "SUBTITLE_UNREADABLE",
        "/subtitle_path",
    )


@pytest.mark.parametrize(
    ("task", "task_input"),
    [
        ("convert_subtitles", {"subtitle_path": "a.srt", "output_formats": ["docx"]}),
        ("convert_subtitles", {"subtitle_path": "a.srt", "output_formats": ["srt"], "source_fps": 25.0}),
        ("fix_subtitles", {"subtitle_path": "a.srt", "typos": {"": "x"}}),
        ("generate_subtitle_files", {"segments_file": "a.srt", "output_filename": "../../a"}),
        (
            "convert_subtitles",
            {"subtitle_path": "a.srt", "output_formats": ["srt"], "output_filename": "a\x00b"},
        ),
        ("burn_subtitles", {"video_path": "a.mp4", "subtitle_path": "a.srt", "output_filename": "a\\b"}),
        ("merge_speaker_based_subtitles", {"overlap_threshold": 1.5}),
        ("prepare_tts_segments", {"min_duration": 20.0, "max_duration": 10.0}),
        ("segment_subtitles", {"subtitle_text": "a", "subtitle_file": "b.json"}),
    ],
)
async def test_bad_input_is_refused_before_anything_runs(
    subtitle_node: NodeUnderTest, task: str, task_input: dict[str, Any]
) -> None:
    """Values out of range and fields that exclude each other never become a task."""
    with pytest.raises(InvalidInput):
        await subtitle_node.run(f"wservice.{task}", task_input, task_id="t1")


async def test_cues_are_moved_to_a_films_speech(subtitle_node: NodeUnderTest, tmp_path: Path) -> None:
    """A late file is in time again and the report says how; what is no recording is refused by field."""
    sentences = [
        "Nobody told me about the bread.",
        "We came here last summer.",
        "It was gone.",
        "And then the train left.",
    ]
    starts, clock, parts = [], 0.0, []
    for number, sentence in enumerate(sentences * 2):
        path = tmp_path / f"{number}.wav"
        subprocess.run(["flite", "-voice", "slt", "-t", sentence, str(path)], check=True)
        with wave.open(str(path)) as sound:
            rate, samples = sound.getframerate(), sound.readframes(sound.getnframes())
        starts.append(clock + 0.15)  # flite begins with a moment of silence
        parts.append(samples + b"\0\0" * int(rate * (0.7 + 0.6 * (number % 3))))
        clock += len(parts[-1]) / 2 / rate
    with wave.open(str(tmp_path / "film.wav"), "wb") as film:
        film.setparams((1, 2, rate, 0, "NONE", ""))
        film.writeframes(b"".join(parts))
    ends = [*starts[1:], clock]
    cues = [Cue(start + 5, end + 4.8, "words") for start, end in zip(starts, ends, strict=True)]
    source = written(tmp_path / "late.srt", to_srt([cue.saying(f"line {n}") for n, cue in enumerate(cues)]))
    result = await completed(
        subtitle_node,
        "fix_subtitles",
        subtitle_path=source,
        sync_to=str(tmp_path / "film.wav"),
        readable=False,
    )
    moved = parse_text(result.file("fixed_subtitle_path").read_text())
    assert max(abs(cue.start - start) for cue, start in zip(moved, starts, strict=True)) < 0.25
    assert result.output["sync"]["moved"] and len(result.output["sync"]["pieces"]) == 1
    assert json.loads(result.file("report_path").read_text())["sync"]["fit"] == result.output["sync"]["fit"]
    refused = await failed(subtitle_node, "fix_subtitles", subtitle_path=source, sync_to=source)
    assert refused in {("MEDIA_UNREADABLE", "/sync_to"), ("MEDIA_FORMAT_REFUSED", "/sync_to")}


async def test_a_two_hour_films_words_fit_into_every_result(
    subtitle_node: NodeUnderTest, tmp_path: Path
) -> None:
    """What is too much to be shown besides its file is left out there, and never fails the task."""
    length, spoken = 7.0, TEXT.split()
    segments = [
        {
            "start": length * number,
            "end": length * number + 6.9,
            "text": TEXT,
            "words": [
                {
                    "word": f" {word}",
                    "start": length * number + n * 0.3,
                    "end": length * number + n * 0.3 + 0.28,
                    "probability": 0.9,
                }
                for n, word in enumerate(spoken)
            ],
        }
        for number in range(1000)
    ]
    turns = [{"start": one["start"], "end": one["end"], "speaker": "SPEAKER_00"} for one in segments]
    (tmp_path / "words.json").write_text(json.dumps({"segments": segments}))
    (tmp_path / "turns.json").write_text(json.dumps({"segments": turns}))
    files = {"segments_file": str(tmp_path / "words.json"), "diarization_file": str(tmp_path / "turns.json")}
    merged = await completed(subtitle_node, "merge_with_word_timestamps", **files)
    whole = json.loads(merged.file("merged_segments_file").read_text())["merged_segments"]
    assert (len(whole), merged.output["merged_segments"]) == (1000, None)
    apart = await completed(subtitle_node, "merge_speaker_segments", **files)
    assert apart.output["input_summary"]["merged_segments_count"] == 1000
    ready = await completed(
        subtitle_node, "prepare_tts_segments", segments_file=str(merged.file("merged_segments_file"))
    )
    assert ready.output["total_segments"] >= 900


async def test_mended_files_are_alike_in_every_form(subtitle_node: NodeUnderTest, tmp_path: Path) -> None:
    """All forms that are asked for hold what was mended, under the name that was asked for, with speakers where those were said."""
    source = written(tmp_path / "old.srt", "1\n00:00:01,000 --> 00:00:03,000\n[Anna] l'm here\n")
    result = await completed(
        subtitle_node,
        "fix_subtitles",
        subtitle_path=source,
        language="en",
        formats=["vtt", "ass", "srt"],
        output_filename="new",
    )
    names = {form: path.rpartition("/")[2] for form, path in result.output["subtitle_files"].items()}
    assert names == {"srt": "new.srt", "vtt": "new.vtt", "ass": "new.ass"}
    assert "[Anna] I'm here" in result.file("fixed_subtitle_path").read_text()
    folder = result.file("fixed_subtitle_path").parent
    assert "<v Anna>I'm here" in (folder / "new.vtt").read_text()
    assert "I'm here" in (folder / "new.ass").read_text()
    plain = await completed(subtitle_node, "fix_subtitles", subtitle_path=source, with_speakers=False)
    assert "Anna" not in plain.file("fixed_subtitle_path").read_text()
