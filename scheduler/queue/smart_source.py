"""Which fields a task may leave out inside a workflow, and whose output then fills them: the first YiVideo's rules, as one table.

A field is filled only where the task's schema knows it and the input gives neither it nor one that stands for it. Of the
sources the first whose task the workflow has is taken; where that one ends without a value, the next.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from scheduler.queue.bindings import Source, Want

_VOICES = ("audio_separator.separate_vocals", "/vocal_audio")
_ALL_STEMS = ("audio_separator.separate_vocals", "/all_audio_files/0")
_AUDIO = ("ffmpeg.extract_audio", "/audio_path")
_TRANSCRIPTS = tuple(
    (f"{node}.transcribe_audio", "/segments_file") for node in ("faster_whisper", "qwen3_asr", "funasr")
)
_SPEAKERS = (("pyannote_audio.diarize_speakers", "/diarization_file"),)
_AREA = (("paddleocr.detect_subtitle_area", "/subtitle_area"),)
_STITCHED = "paddleocr.create_stitched_images"
_SUBTITLES = "wservice.generate_subtitle_files"


@dataclass(frozen=True, slots=True)
class Rule:
    """How one field of one task is filled."""

    field: str
    sources: tuple[tuple[str, str], ...]
    """Task name and JSON pointer into its output, in order of preference."""
    unless: tuple[str, ...] = ()
    """Fields that stand for it."""
    if_required: bool = False
    """Whether it is filled only where the task's schema requires it."""


_HEARD = Rule("audio_path", (_VOICES, _AUDIO))
_TEXT = Rule("segments_file", _TRANSCRIPTS, ("segments_data",))
_WHO = Rule("diarization_file", _SPEAKERS, ("speaker_segments_data",))
_TIMBRE = Rule("spk_audio_prompt", (_VOICES, _AUDIO), ("reference_audio", "speaker_audio"), if_required=True)
"""A node that has voices of its own does not require one, and may have no engine that could use it."""

RULES: Mapping[str, tuple[Rule, ...]] = {
    "ffmpeg.crop_subtitle_images": (Rule("subtitle_area", _AREA),),
    "ffmpeg.split_audio_segments": (
        Rule("audio_path", (_VOICES, _AUDIO)),
        Rule(
            "subtitle_path",
            ((_SUBTITLES, "/speaker_srt_path"), (_SUBTITLES, "/subtitle_path"), (_SUBTITLES, "/speaker_json_path")),
        ),
    ),
    "faster_whisper.transcribe_audio": (_HEARD,),
    "qwen3_asr.transcribe_audio": (_HEARD,),
    "funasr.transcribe_audio": (_HEARD,),
    "audio_separator.separate_vocals": (Rule("audio_path", (_AUDIO,)),),
    "pyannote_audio.diarize_speakers": (Rule("audio_path", (_AUDIO, _VOICES, _ALL_STEMS)),),
    "pyannote_audio.get_speaker_segments": (Rule("diarization_file", _SPEAKERS),),
    "pyannote_audio.validate_diarization": (Rule("diarization_file", _SPEAKERS),),
    "pyannote_audio.assign_speakers": (Rule("segments_file", _TRANSCRIPTS), Rule("diarization_file", _SPEAKERS)),
    "paddleocr.detect_subtitle_area": (Rule("keyframe_dir", (("ffmpeg.extract_keyframes", "/keyframe_dir"),)),),
    "paddleocr.create_stitched_images": (
        Rule("cropped_images_path", (("ffmpeg.crop_subtitle_images", "/cropped_images_path"),)),
        Rule("subtitle_area", _AREA),
    ),
    "paddleocr.perform_ocr": (
        Rule("manifest_path", ((_STITCHED, "/manifest_path"),)),
        Rule("multi_frames_path", ((_STITCHED, "/multi_frames_path"),)),
    ),
    "paddleocr.postprocess_and_finalize": (
        Rule("ocr_results_path", (("paddleocr.perform_ocr", "/ocr_results_path"),), ("ocr_results_file",)),
        Rule("manifest_file", ((_STITCHED, "/manifest_path"),)),
    ),
    "indextts.generate_speech": (_TIMBRE,),
    "wservice.generate_subtitle_files": (_TEXT, _WHO),
    "wservice.correct_subtitles": (
        Rule(
            "subtitle_path",
            ((_SUBTITLES, "/speaker_srt_path"), (_SUBTITLES, "/subtitle_path")),
        ),
    ),
    "wservice.ai_optimize_subtitles": (_TEXT,),
    "wservice.ai_optimize_text": (_TEXT,),
    "wservice.translate_subtitles": (_TEXT,),
    "wservice.rebuild_subtitle_with_words": (
        _TEXT,
        Rule(
            "optimized_text_file", (("wservice.ai_optimize_text", "/optimized_text_file"),), ("optimized_text",)
        ),
    ),
    "wservice.merge_speaker_segments": (_TEXT, _WHO),
    "wservice.merge_with_word_timestamps": (_TEXT, _WHO),
    "wservice.merge_speaker_based_subtitles": (_TEXT, _WHO),
    "wservice.prepare_tts_segments": (
        Rule(
            "segments_file",
            (
                ("wservice.merge_with_word_timestamps", "/merged_segments_file"),
                ("wservice.merge_speaker_segments", "/merged_segments_file"),
                ("wservice.rebuild_subtitle_with_words", "/optimized_segments_file"),
                (_SUBTITLES, "/json_path"),
                *_TRANSCRIPTS,
            ),
            ("segments_data", "merged_segments", "segments"),
        ),
    ),
}  # fmt: skip


def missing_fields(
    task_name: str, value: Mapping[str, Any], *, known: frozenset[str], required_fields: frozenset[str]
) -> Iterator[Source]:
    """Yield a source for each field that an input leaves out and the workflow may fill.

    `known` and `required_fields` are the fields of the task's schema.
    """
    for rule in RULES.get(task_name, ()):
        required = rule.field in required_fields
        if rule.field in value or rule.field not in known or (rule.if_required and not required):
            continue
        if any(value.get(other) for other in rule.unless):
            continue
        wants = tuple(Want("stages", name, path) for name, path in rule.sources)
        yield Source(f"/{rule.field}", wants, fill=True, required=required)
