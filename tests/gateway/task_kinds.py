"""Two task types, as nodes publish them."""

from __future__ import annotations

import json

from yivideo.task.v1 import task_pb2 as pb

EXTRACT_AUDIO = pb.TaskType(
    name="ffmpeg.extract_audio",
    node="ffmpeg",
    description="Extracts the first audio stream as WAV.",
    input_schema=json.dumps(
        {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "additionalProperties": False,
            "required": ["video_path"],
            "examples": [{"video_path": "films/first.mp4"}],
            "properties": {
                "video_path": {"type": "string", "description": "The video."},
                "cut": {"$ref": "#/$defs/Cut"},
            },
            "$defs": {"Cut": {"type": "object", "properties": {"next": {"$ref": "#/$defs/Cut"}}}},
        }
    ),
    output_schema=json.dumps({"type": "object", "properties": {"audio_path": {"type": "string"}}}),
    timeout_seconds=1800,
    reuse_field="audio_path",
    media_fields=["/video_path"],
)
LIST_VOICES = pb.TaskType(
    name="indextts.list_voice_presets",
    node="indextts",
    description="Lists the voices.",
    input_schema='{"type": "object"}',
    output_schema='{"type": "object"}',
    gpu=True,
)
